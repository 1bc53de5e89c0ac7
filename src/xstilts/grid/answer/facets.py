"""What a comparison is about, and how it is told apart: by rows, languages, depth, time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from xstilts.data.languages import group_by
from xstilts.evaluate.stats import Unit
from xstilts.grid.answer.study_results import HUNDREDTHS, StudyResults
from xstilts.grid.answer_spec import GROUPINGS, AnswerSpec, Facet, TableSpec


@dataclass(frozen=True)
class Selection:
    """The mean of some rows minus that of others.

    Attributes:
        ours, theirs: Rows that have results.
        units: What both are compared on.
        backbones: The mean is over them, too.
        step: Of the snapshots that stand for rows; -1 for what training ended with.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    units: frozenset[Unit]
    backbones: tuple[str, ...]
    step: int = -1


Named = tuple[str, Selection]


def select(
    study_results: StudyResults, answer: AnswerSpec, table: TableSpec | None = None
) -> Selection:
    """What an answer, or one of its tables, is about before it is told apart."""
    source = table or answer
    tasks = set(source.tasks or answer.tasks)
    units = [u for u in study_results.units if not tasks or u.task in tasks]
    if answer.zero_shot:
        trained = study_results.trained_on
        units = [u for u in units if u.language not in trained.get(u.task, frozenset())]
    if table is None or "depth" not in table.by:
        depth = round(HUNDREDTHS * answer.depth)
        units = [u for u in units if u.layer in (-1, depth) or not study_results.study.depths]
    ours, theirs = (
        tuple(row for row in chosen if row in study_results.rows)
        for chosen in (source.ours or answer.ours, source.theirs or answer.theirs)
    )
    return Selection(ours, theirs, frozenset(units), study_results.backbones)


def split(study_results: StudyResults, selection: Selection, facet: Facet) -> list[Named]:
    """The values of a facet and what each leaves of a selection, in the order they are shown."""
    if facet in GROUPINGS:
        codes = dict.fromkeys(unit.language for unit in sorted(selection.units))
        return [
            (name, _units(selection, lambda unit, own=members: unit.language in own))
            for name, members in group_by(codes, facet, study_results.pretraining).items()
        ]
    return _SPLITS[facet](study_results, selection)


def _units(selection: Selection, wanted: Callable[..., bool]) -> Selection:
    return replace(selection, units=frozenset(u for u in selection.units if wanted(u)))


def _by(
    selection: Selection, name: Callable[[Unit], str], order: Iterable[str] = ()
) -> list[Named]:
    names = dict.fromkeys([*order, *(name(unit) for unit in sorted(selection.units))])
    made = [(n, _units(selection, lambda unit, own=n: name(unit) == own)) for n in names]
    return [(n, one) for n, one in made if one.units]


def _rows(_: StudyResults, selection: Selection) -> list[Named]:
    return [(row, replace(selection, ours=(row,))) for row in selection.ours]


def _references(_: StudyResults, selection: Selection) -> list[Named]:
    return [(row, replace(selection, theirs=(row,))) for row in selection.theirs]


def _tasks(study_results: StudyResults, selection: Selection) -> list[Named]:
    study = study_results.study
    return _by(selection, lambda unit: unit.task, (*study.alignment, *study.targets))


def _domains(study_results: StudyResults, selection: Selection) -> list[Named]:
    order = [study_results.domains.get(task, task) for task in study_results.study.alignment]
    return _by(selection, lambda unit: study_results.domains[unit.task], order)


def _languages(_: StudyResults, selection: Selection) -> list[Named]:
    return _by(selection, lambda unit: unit.language)


def _depths(_: StudyResults, selection: Selection) -> list[Named]:
    depths = sorted({unit.layer for unit in selection.units if unit.layer >= 0})
    return [
        (f"{depth} %", _units(selection, lambda unit, own=depth: unit.layer == own))
        for depth in depths
    ]


def _steps(study_results: StudyResults, selection: Selection) -> list[Named]:
    steps = sorted({step for row in selection.ours for step in study_results.steps(row)})
    return [(str(step), replace(selection, step=step)) for step in steps]


def _backbones(_: StudyResults, selection: Selection) -> list[Named]:
    return [(name, replace(selection, backbones=(name,))) for name in selection.backbones]


_SPLITS: dict[Facet, Callable[[StudyResults, Selection], list[Named]]] = {
    "row": _rows,
    "reference": _references,
    "task": _tasks,
    "domain": _domains,
    "language": _languages,
    "depth": _depths,
    "step": _steps,
    "backbone": _backbones,
}
