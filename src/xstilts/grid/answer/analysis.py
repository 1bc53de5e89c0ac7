"""From results to verdicts: the one that the study was planned for, and those of its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import lcm

from xstilts.config.draws import DRAWS
from xstilts.config.progress import ProgressFn, silent
from xstilts.data.languages import group
from xstilts.errors import UsageError
from xstilts.evaluate.stats import (
    HIGHER,
    LOWER,
    NOTHING,
    Runs,
    Term,
    Unit,
    Verdict,
    combined,
    compare,
    detectable,
    difference_of_differences,
    family,
    family_draws,
)
from xstilts.grid.answer.facets import Selection, select, split
from xstilts.grid.answer.study_results import Place, StudyResults
from xstilts.grid.answer_spec import AnswerSpec, ContrastSpec, TableSpec

MOST_NAMED = 5
"""Of what is missing, in the line of the verdict."""
TABLE_DRAWS = 2000
"""Of each bootstrap in a table, at least; the verdict has more."""
LEAST_ADJUSTED = 0.005
"""The smallest adjusted p-value of a table: a tenth of what counts as detected."""


@dataclass(frozen=True)
class Comparison:
    """One comparison.

    Attributes:
        names: What tells it apart from the others of its table.
        verdict: None where it could not be made.
        why: Why not.
        ours, theirs: Mean scores, over languages, then over tasks.
    """

    names: tuple[str, ...]
    verdict: Verdict | None
    why: str = ""
    ours: float | None = None
    theirs: float | None = None


@dataclass(frozen=True)
class StudyAnswer:
    """The answer to a study.

    Attributes:
        main: The comparison that decides.
        tables: Each with its comparisons, whose p-values are adjusted together.
        draws: Of the bootstrap behind the verdict.
    """

    study_results: StudyResults
    spec: AnswerSpec
    main: Comparison
    tables: Sequence[tuple[TableSpec, Sequence[Comparison]]]
    draws: int = DRAWS

    @property
    def words(self) -> str:
        """The answer as a sentence of the study."""
        verdict = self.main.verdict
        if verdict is None:
            return "Not answered"
        said = {HIGHER: self.spec.higher, LOWER: self.spec.lower, NOTHING: self.spec.nothing}
        return said.get(verdict.claim) or f"Not decided, {verdict.claim}"

    @property
    def line(self) -> str:
        """The answer with its numbers, in one line."""
        verdict = self.main.verdict
        if verdict is None:
            return f"{self.words}: {self.main.why}.{self._without()}"
        least = detectable(verdict) if verdict.decided else None
        seen = (
            f" A difference of {least:.1f} points or more would have been seen in four of five "
            "such studies."
            if least is not None
            else ""
        )
        return f"{self.words}: {verdict.numbers}.{seen}{self._beside_controls()}{self._without()}"

    def _beside_controls(self) -> str:
        """How the answer's rows stand to those that show what any training does."""
        joined = {HIGHER: "than", LOWER: "than", NOTHING: "from"}
        controls = [
            f"{verdict.claim} {joined.get(verdict.claim, 'beside')} "
            f"{', '.join(line.names)} ({verdict.numbers})"
            for table, lines in self.tables
            for line in lines
            if table.controls and (verdict := line.verdict)
        ]
        return f" Beside controls: {'; '.join(controls)}." if controls else ""

    def _without(self) -> str:
        """What the answer is without."""
        found = self.study_results
        names = [f"{cell.name} ({status})" for cell, status in found.lacking]
        names += [f"{what} ({why})" for what, why in found.left_out]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return f" Without {', '.join(names[:MOST_NAMED])}{more}." if names else ""


def answered(
    study_results: StudyResults, *, draws: int = DRAWS, progress: ProgressFn = silent
) -> StudyAnswer:
    """Make every comparison that a study asks for.

    Args:
        study_results: What is there; what is lacking is left out and named.
        draws: Of the bootstrap behind the verdict; a table has `TABLE_DRAWS` or fewer, but as many
            as the number of its lines needs.
        progress: Called with what is being compared, and its share.

    Raises:
        UsageError: The study has no answer section.
    """
    spec = study_results.study.answer
    if spec is None:
        raise UsageError(
            f"study {study_results.study.name} does not say how its answer is read",
            hint="Add an `answer` section, or look at its scores: xstilts report.",
        )
    progress("the verdict", 0.0)
    chosen = select(study_results, spec)
    main = judge(study_results, chosen, spec.contrast, growth=spec.growth, draws=draws)
    jobs = [
        (place, names, selection)
        for place, table in enumerate(spec.tables)
        for names, selection in _lines(study_results, select(study_results, spec, table), table)
    ]
    sizes = Counter(place for place, _, _ in jobs)
    found: list[list[Comparison]] = [[] for _ in spec.tables]
    for number, (place, names, selection) in enumerate(jobs):
        table = spec.tables[place]
        progress(table.title, number / len(jobs))
        contrast = spec.contrast if table.contrast else None
        enough = family_draws(min(draws, TABLE_DRAWS), sizes[place], LEAST_ADJUSTED)
        one = judge(study_results, selection, contrast, growth=table.growth, draws=enough)
        found[place].append(replace(one, names=names))
    tables = [(t, _adjusted(lines)) for t, lines in zip(spec.tables, found, strict=True)]
    return StudyAnswer(study_results, spec, main, tables, draws)


def _lines(
    study_results: StudyResults, selection: Selection, table: TableSpec
) -> list[tuple[tuple[str, ...], Selection]]:
    lines: list[tuple[tuple[str, ...], Selection]] = [((), selection)]
    for facet in table.by:
        lines = [
            ((*names, name), one)
            for names, before in lines
            for name, one in split(study_results, before, facet)
        ]
    return lines


def _adjusted(lines: Sequence[Comparison]) -> list[Comparison]:
    verdicts = iter(family([line.verdict for line in lines if line.verdict is not None]))
    return [replace(line, verdict=next(verdicts)) if line.verdict else line for line in lines]


# -- one comparison


def judge(
    study_results: StudyResults,
    selection: Selection,
    contrast: ContrastSpec | None = None,
    *,
    growth: bool = False,
    draws: int = DRAWS,
) -> Comparison:
    """Compare what is selected; says why where that cannot be done."""
    if not selection.ours or not selection.theirs:
        return Comparison((), None, "one of the sides has no results")
    try:
        if growth:
            ends = [selection.backbones[-1], selection.backbones[0]]
            if ends[0] == ends[1]:
                return Comparison((), None, "growth needs two backbones with results")
            ours, theirs = (_gain(study_results, selection, name) for name in ends)
        else:
            ours, theirs = _sides(study_results, selection)
        units = selection.units & ours.units & theirs.units
        corpus = study_results.pretraining
        if contrast is None:
            verdict = compare(ours, theirs, units, draws=draws)
        else:
            verdict = difference_of_differences(
                ours,
                theirs,
                *(
                    [u for u in units if group(u.language, contrast.by, corpus) == name]
                    for name in (contrast.first, contrast.second)
                ),
                draws=draws,
                what=f"{contrast.first} minus {contrast.second}",
            )
    except UsageError as error:
        return Comparison((), None, error.what)
    plain = contrast is None and not growth
    means = (_mean(runs.on(units), units) if plain else None for runs in (ours, theirs))
    return Comparison((), verdict, "", *means)


def _sides(study_results: StudyResults, selection: Selection) -> tuple[Runs, Runs]:
    """Both sides with equally many outcomes beside each other, so that they can be paired."""
    found = [
        [
            _runs(study_results, Place(backbone, row, selection.step))
            for backbone in selection.backbones
            for row in rows
        ]
        for rows in (selection.ours, selection.theirs)
    ]
    many = lcm(*map(len, found))
    names = [_label(rows) for rows in (selection.ours, selection.theirs)]
    if many == 1:
        return replace(found[0][0], label=names[0]), replace(found[1][0], label=names[1])
    ours, theirs = (
        combined([Term(1 / many, runs) for runs in own for _ in range(many // len(own))], name)
        for own, name in zip(found, names, strict=True)
    )
    return ours, theirs


def _label(rows: Sequence[str]) -> str:
    return rows[0] if len(rows) == 1 else f"mean of {', '.join(rows)}"


def _gain(study_results: StudyResults, selection: Selection, backbone: str) -> Runs:
    """Ours minus theirs on one backbone, as runs."""
    ours, theirs = _sides(study_results, replace(selection, backbones=(backbone,)))
    return combined([Term(1.0, ours), Term(-1.0, theirs)], f"gain on {backbone}")


def _runs(study_results: StudyResults, place: Place) -> Runs:
    """The runs of a place; what has no snapshots stands for itself at every step.

    Raises:
        UsageError: There are none.
    """
    for one in (place, place._replace(step=-1)):
        if one in study_results.runs:
            return study_results.runs[one]
    raise UsageError(f"there are no results of {place.row} on {place.backbone or 'the backbone'}")


def _mean(runs: Runs, units: Collection[Unit]) -> float | None:
    """Mean over languages, then over tasks, of the means over seeds."""
    by_task: dict[Unit, list[float]] = {}
    for unit in units:
        values = [table[unit].value for table in runs.table.values() if unit in table]
        if values:
            own = by_task.setdefault(unit._replace(language=""), [])
            own.append(sum(values) / len(values))
    means = [sum(values) / len(values) for values in by_task.values()]
    return sum(means) / len(means) if means else None
