"""What a study's finished cells give: the runs of each row on each backbone, after each step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from pydantic import ValidationError

from xstilts.config.load import pretraining_of
from xstilts.evaluate.alignment.bitext import COLUMNS
from xstilts.evaluate.alignment.snapshots import trained_label
from xstilts.evaluate.score_rows import ALIGNMENT
from xstilts.evaluate.stats import Measured, Runs, Unit, collect
from xstilts.evaluate.stats.resampling import Array, Pooled
from xstilts.evaluate.stats.samples import main_score
from xstilts.evaluate.store import ResultCell, ResultStore, Score
from xstilts.grid.cell import GridCell, shown_backbones
from xstilts.grid.spec import StudySpec
from xstilts.grid.state import GridFolder, PlannedStudy, Status
from xstilts.report.alignment import paired_measure

HUNDREDTHS = 100
"""In an answer the layer of a unit is its depth in hundredths, equal for backbones of any size."""


class Place(NamedTuple):
    """Which runs: those of a row of the study on a backbone; `step` is -1 after its training."""

    backbone: str
    row: str
    step: int = -1


@dataclass(frozen=True)
class StudyResults:
    """The finished results of a study, which its answer is computed from.

    Attributes:
        runs: By place; the layer of a unit is its depth in hundredths.
        results: The finished evaluations.
        lacking: Cells of the study that are not done, and their statuses.
        missing: What had no data, or could not be read, when the study was planned.
        cells: Of the whole study.
    """

    study: StudySpec
    runs: Mapping[Place, Runs]
    results: Sequence[ResultCell]
    lacking: Sequence[tuple[GridCell, Status]]
    missing: Sequence[str]
    cells: Sequence[GridCell]

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Tasks and bitexts without results, each with the reason."""
        parts = (text.partition(": ") for text in self.missing)
        return [(what, why or "no data") for what, _, why in parts]

    @cached_property
    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones with results, in the study's order."""
        return tuple(dict.fromkeys(place.backbone for place in self.runs))

    @cached_property
    def pretraining(self) -> str:
        """The corpus that says which languages the backbones saw; empty where it is unknown."""
        return pretraining_of(score.backbone for score in self.scores)

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """Rows with results, in the study's order."""
        there = {place.row for place in self.runs}
        return tuple(row.name for row in self.study.intermediates if row.name in there)

    @cached_property
    def units(self) -> frozenset[Unit]:
        """Every task, language and depth that some run has a score for."""
        return frozenset().union(*(runs.units for runs in self.runs.values()))

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """The score rows of all finished evaluations."""
        return tuple(score for result in self.results for score in result.scores)

    @cached_property
    def domains(self) -> dict[str, str]:
        """Task to its domain; the task's name where it has none."""
        return {score.task: score.domain or score.task for score in self.scores}

    @cached_property
    def trained_on(self) -> dict[str, frozenset[str]]:
        """Task to the languages that its heads were trained on, whatever the row."""
        found: dict[str, frozenset[str]] = {}
        for score in self.scores:
            if score.train_task:
                own = frozenset(score.source_language.split(","))
                found[score.task] = found.get(score.task, own) & own
        return found

    def steps(self, row: str) -> list[int]:
        """Steps after which snapshots of a row were evaluated."""
        return sorted({place.step for place in self.runs if place.row == row and place.step >= 0})


def collect_results(planned: PlannedStudy, folder: GridFolder, store: ResultStore) -> StudyResults:
    """What is there of a study; cells that are not done are named.

    Raises:
        IntegrityError: A stored result is broken, or another version planned the study.
    """
    try:
        study = StudySpec.model_validate(dict(planned.spec))
    except ValidationError:
        raise folder.other_version(planned.name) from None
    statuses = folder.statuses(planned.cells)
    results: dict[str, list[ResultCell]] = {}
    depths: dict[str, dict[int, float]] = {}
    lacking = [(c, statuses[c.key]) for c in planned.cells if statuses[c.key] != "done"]
    for cell in planned.cells:
        outcome = folder.outcome(cell.key)
        if cell.kind != "evaluate" or outcome is None:
            continue
        depths[cell.backbone] = study.layers_at(int(cell.job["blocks"]))
        found = [store.get(key) for key in outcome["cells"]]
        if None in found:
            lacking.append((cell, "waiting"))
        results.setdefault(cell.backbone, []).extend(r for r in found if r is not None)
    runs: dict[Place, Runs] = {}
    shown = shown_backbones({cell.backbone for cell in planned.cells})  # also where one is to come
    for backbone, own in results.items():
        runs |= _runs(study, shown[backbone], own, depths[backbone])
    every = [result for own in results.values() for result in own]
    return StudyResults(study, runs, every, lacking, planned.missing, planned.cells)


def _runs(
    study: StudySpec, backbone: str, results: Iterable[ResultCell], depths: Mapping[int, float]
) -> dict[Place, Runs]:
    """The runs of one backbone, measures of alignment narrowed to the study's."""
    own = list(results)
    measure = study.answer.measure if study.answer else COLUMNS[0]
    aligned = paired_measure(measure)

    def chosen(result: ResultCell) -> tuple[Score, Pooled] | None:
        group = result.scores[0].group
        return aligned(result) if group == ALIGNMENT else main_score(result)

    steps = {s.intermediate: s.step for result in own for s in result.scores}
    found = {}
    for label, runs in collect(own, chosen=chosen).items():
        place = Place(backbone, trained_label(label, steps[label]), steps[label])
        column = COLUMNS.index(measure)
        table = {
            seed: {
                _at_depth(unit, depths): (
                    _narrowed(item, column) if unit.task in study.alignment else item
                )
                for unit, item in units.items()
            }
            for seed, units in runs.table.items()
        }
        found[place] = Runs(place.row, table, runs.older)
    return found


def _at_depth(unit: Unit, depths: Mapping[int, float]) -> Unit:
    if unit.layer not in depths:
        return unit
    return unit._replace(layer=round(HUNDREDTHS * depths[unit.layer]))


def _narrowed(item: Measured, column: int) -> Measured:
    """The same outcomes without the columns of other measures; few columns are quickly drawn."""
    load = item.load
    if load is None:
        return item

    def one() -> Array:
        return load()[:, [column]]

    def pooled(sums: Array, n: int) -> Array:
        return 100.0 * sums[..., 0] / n

    return replace(item, load=one, pooled=pooled)
