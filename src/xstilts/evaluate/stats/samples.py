"""From stored cells to outcomes of runs that can be set side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xstilts.errors import IntegrityError
from xstilts.evaluate.names import task_title
from xstilts.evaluate.stats.resampling import Array, Pooled, standard_error
from xstilts.evaluate.stats.significance import FEWEST_SEEDS
from xstilts.evaluate.stats.verdict import FEWEST_EXAMPLES
from xstilts.evaluate.store import ResultCell, Score
from xstilts.tasks.metrics import METRICS

NO_SEED = -1
"""Stands for the seed of what is not random."""


class Unit(NamedTuple):
    """What a score is of: one of these is evaluated for each run."""

    task: str
    language: str
    split: str = ""
    layer: int = -1
    pooling: str = ""

    def __str__(self) -> str:
        block = f" block {self.layer}" if self.layer >= 0 else ""
        return f"{task_title(self.task, self.split)}/{self.language}{block}"


@dataclass(frozen=True)
class Measured:
    """Outcomes of one run on one unit.

    Attributes:
        value: The score, as stored.
        load: Gives what each example contributes, [examples, columns]; None without outcomes.
        pooled: From summed outcomes to the score.
        data: What stands for the examples; equal for runs that can be paired.
        cell: Key of the cell; empty for outcomes from elsewhere.
        trained: Whether anything was trained for it: false for the untouched backbone.
    """

    value: float
    load: Callable[[], Array] | None
    pooled: Pooled
    data: object = ""
    cell: str = ""
    trained: bool = True


@dataclass(frozen=True)
class Runs:
    """All runs of one expression.

    Attributes:
        label: What stands for the expression in tables.
        table: Seed to unit to outcomes; see `NO_SEED`.
        older: Keys of cells that a later one of the same seed and unit took the place of.
    """

    label: str
    table: Mapping[int, Mapping[Unit, Measured]]
    older: tuple[str, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(sorted(self.table))

    @property
    def units(self) -> frozenset[Unit]:
        """The units that some seed has."""
        return frozenset().union(*self.table.values())

    @property
    def few_trainings(self) -> bool:
        """Whether something was trained, with too few seeds to know the spread of trainings."""
        return self.trained and len(self.table) < FEWEST_SEEDS

    @property
    def trained(self) -> bool:
        """Whether something was trained for any of the runs; false for the untouched backbone."""
        return any(item.trained for units in self.table.values() for item in units.values())

    def on(self, units: Collection[Unit]) -> Runs:
        """The runs whose seed has all of some units; what has no seed on a unit counts for each."""
        fixed = self.table.get(NO_SEED, {})
        seeds = [seed for seed in self.table if seed != NO_SEED] or [NO_SEED]
        table = {
            seed: {unit: found[unit] for unit in units}
            for seed in seeds
            if set(units) <= (found := {**fixed, **self.table[seed]}).keys()
        }
        whole = {NO_SEED: {unit: fixed[unit] for unit in units}} if set(units) <= set(fixed) else {}
        return Runs(self.label, whole or table, self.older)


Chosen = Callable[[ResultCell], tuple[Score, Pooled] | None]
"""The score of a cell that is looked at, and what gives it from outcomes; None passes it over."""


def main_score(cell: ResultCell) -> tuple[Score, Pooled] | None:
    """The row of a cell's main metric."""
    score = next((score for score in cell.scores if score.main), None)
    return None if score is None else (score, METRICS.get(str(cell.identity["metric"])).pooled)


def collect(
    cells: Iterable[ResultCell], fingerprint: str = "", chosen: Chosen = main_score
) -> dict[str, Runs]:
    """Label to its runs, from stored cells.

    Where an expression was trained anew under the same label and seed, the cell that was written
    last counts.

    Args:
        cells: Of one or several tasks.
        fingerprint: Of the backbone; empty takes all cells, which then must be of one backbone.
        chosen: Which score of a cell counts.
    """
    newest: dict[tuple[str, int, Unit], ResultCell] = {}
    older: dict[str, list[str]] = {}
    tables: dict[str, dict[int, dict[Unit, Measured]]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.written, cell.key)):
        found = chosen(cell)
        if found is None or (fingerprint and found[0].fingerprint != fingerprint):
            continue
        score, pooled = found
        label, unit = score.intermediate, unit_of(score)
        if (label, score.seed, unit) in newest:
            older.setdefault(label, []).append(newest[label, score.seed, unit].key)
        newest[label, score.seed, unit] = cell
        table = tables.setdefault(label, {}).setdefault(score.seed, {})
        table[unit] = _measured(cell, score, pooled)
    return {
        label: Runs(label, table, tuple(older.get(label, ()))) for label, table in tables.items()
    }


def standard_errors(cells: Iterable[ResultCell]) -> dict[str, float]:
    """Key of a cell to the standard error of its main score over examples, in points.

    Cells without outcomes, those of fewer than five examples, and those whose examples all came
    out alike, have none: nothing says there how far the score would move.
    """
    errors: dict[str, float] = {}
    for cell in cells:
        found, rows = main_score(cell), enough_outcomes(cell)
        if found and rows is not None:
            error = standard_error(rows, found[1])
            errors |= {cell.key: error} if error > 0 else {}
    return errors


def enough_outcomes(cell: ResultCell, chosen: Chosen = main_score) -> Array | None:
    """What each example contributes, [examples, columns]; None for none or fewer than five.

    Raises:
        IntegrityError: They are broken, or do not give the score that is chosen.
    """
    found = chosen(cell)
    load = _measured(cell, *found).load if found else None
    rows = load() if load else None
    return None if rows is None or len(rows) < FEWEST_EXAMPLES else rows


def unit_of(score: Score) -> Unit:
    """The task, language, split and block that a score was computed on."""
    return Unit(score.task, score.language, score.split, score.layer, score.pooling)


def _measured(cell: ResultCell, score: Score, pooled: Pooled) -> Measured:
    """The outcomes of a cell; they are read when they are asked for."""

    def load() -> Array:
        return _checked(cell, score.value, pooled)

    there = (cell.folder / "outcomes.json").is_file()
    data: Any = cell.identity.get("data", ())
    known = load if there else None
    return Measured(score.value, known, pooled, tuple(data), cell.key, bool(score.digest))


def _checked(cell: ResultCell, value: float, pooled: Pooled) -> Array:
    """The outcomes, which must give the stored score."""
    try:
        rows = np.asarray(cell.outcomes(), np.float64)
        rows = rows.reshape(len(rows), -1)
        found = float(pooled(rows.sum(0), len(rows))) if len(rows) else float("nan")
    except (IndexError, TypeError, ValueError) as error:  # no table of numbers, or a narrower one
        raise _broken_outcomes(cell, f"the outcomes of a cell are broken: {error}") from None
    if not abs(found - value) <= 1e-4 * max(1.0, abs(value)):
        what = f"the outcomes of a cell give {found:.6f}, its score is {value:.6f}"
        raise _broken_outcomes(cell, what)
    return rows


def _broken_outcomes(cell: ResultCell, what: str) -> IntegrityError:
    score = cell.scores[0]
    verb = "align" if score.group else "eval"
    asked = f'"{score.expression}" --task {score.task} --langs {score.language}'
    return IntegrityError(
        what,
        where=str(cell.folder),
        hint=f"Compute it again: xstilts {verb} {asked} --split {score.split} --force",
    )
