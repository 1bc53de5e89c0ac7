"""Paired comparisons of runs: of one expression with another, and of groups of units."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from xstilts.errors import UsageError
from xstilts.evaluate.names import task_title
from xstilts.evaluate.stats.resampling import (
    DRAWS,
    Array,
    Spread,
    interval,
    p_value,
    resampled_scores,
)
from xstilts.evaluate.stats.samples import Measured, Runs, Unit
from xstilts.evaluate.stats.significance import (
    EXACT_BELOW,
    FEWEST_SEEDS,
    cohens_h,
    mcnemar,
    sign_test,
    standard_deviation,
)
from xstilts.evaluate.stats.verdict import FEWEST_EXAMPLES, Verdict

FEWEST_SIGNS = 5
"""Units that differ below which no sign test is given: it could not come out below 0.06."""


def compare(
    ours: Runs,
    theirs: Runs,
    units: Iterable[Unit] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    what: str = "",
) -> Verdict:
    """Mean over languages, then over tasks, of ours minus theirs.

    Args:
        ours: Runs of one expression.
        theirs: Runs of another, on the same examples.
        units: What counts; what one of them lacks is left out. None: all that both have. Seeds
            that lack one of the rest are left out.
        draws: Of the bootstrap.
        seed: Of its generator.
        what: In words; the tasks when empty.

    Raises:
        UsageError: They share no unit, or were scored on different examples.
    """
    shared = _shared(ours, theirs, units)
    left = len(set(units) - set(shared)) if units is not None else 0
    notes = (f"{left} units without a score left out",) if left else ()
    weights = _even(shared)
    ours, theirs = _on(ours, shared), _on(theirs, shared)
    verdict = _contrast(ours, theirs, weights, draws, seed, what or _tasks(shared))
    differences = [_mean_value(ours, u) - _mean_value(theirs, u) for u in shared]
    wins, losses, sign_p = sign_test(differences)
    size = cohens_h(
        *(sum(w * _mean_value(r, u) for u, w in weights.items()) for r in (ours, theirs))
    )
    return replace(
        verdict,
        wins=wins,
        losses=losses,
        sign_p=sign_p if wins + losses >= FEWEST_SIGNS else None,
        size=size,
        notes=(*verdict.notes, *notes),
    )


def difference_of_differences(
    ours: Runs,
    theirs: Runs,
    first: Iterable[Unit],
    second: Iterable[Unit],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    what: str = "",
) -> Verdict:
    """What ours gains over theirs on `first`, minus what it gains on `second`.

    Args:
        ours: Runs of one expression.
        theirs: Runs of another, on the same examples.
        first: Such as the units of languages that are not written in Latin letters.
        second: Such as those that are.
        draws: Of the bootstrap.
        seed: Of its generator.
        what: In words.

    Raises:
        UsageError: One of the groups is empty, or examples differ.
    """
    groups = [_shared(ours, theirs, group) for group in (first, second)]
    both = set(groups[0]) & set(groups[1])
    if both:
        raise UsageError(f"{len(both)} units are in both groups", where=str(min(both)))
    minus = {unit: -weight for unit, weight in _even(groups[1]).items()}
    weights = {**_even(groups[0]), **minus}
    ours, theirs = _on(ours, weights), _on(theirs, weights)
    named = what or f"{len(groups[0])} units minus {len(groups[1])} others"
    return _contrast(ours, theirs, weights, draws, seed, named)


def _shared(ours: Runs, theirs: Runs, units: Iterable[Unit] | None) -> list[Unit]:
    both = ours.units & theirs.units
    shared = sorted(both if units is None else both & set(units))
    if not shared:
        raise UsageError(
            f"'{ours.label}' and '{theirs.label}' have no task and language in common",
            hint="Evaluate both on the same tasks and languages.",
        )
    return shared


def _on(runs: Runs, units: Collection[Unit]) -> Runs:
    """The runs that have all of some units.

    Raises:
        UsageError: No seed has.
    """
    whole = runs.on(units)
    if not whole.table:
        raise UsageError(
            f"no seed of '{runs.label}' has all of {len(units)} tasks and languages",
            hint="Evaluate what is missing.",
        )
    return whole


def _even(units: Sequence[Unit]) -> dict[Unit, float]:
    """Equal weights of the languages of a task, and of the tasks."""
    kinds = [unit._replace(language="") for unit in units]
    share = 1 / len(set(kinds))
    return {unit: share / kinds.count(kind) for unit, kind in zip(units, kinds, strict=True)}


def _tasks(units: Sequence[Unit]) -> str:
    names = list(dict.fromkeys(task_title(unit.task, unit.split) for unit in units))
    languages = len({unit.language for unit in units})
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    one = units[0].language if languages == 1 else f"{languages} languages"
    return f"{shown}: {one}"


def _mean_value(runs: Runs, unit: Unit) -> float:
    values = [table[unit].value for table in runs.table.values()]
    return sum(values) / len(values)


def _contrast(
    ours: Runs,
    theirs: Runs,
    weights: Mapping[Unit, float],
    draws: int,
    seed: int,
    what: str,
) -> Verdict:
    """The weighted sum over units of ours minus theirs."""
    effect = sum(w * (_mean_value(ours, u) - _mean_value(theirs, u)) for u, w in weights.items())
    counts = len(ours.table), len(theirs.table)
    verdict = Verdict(
        ours.label,
        theirs.label,
        what,
        effect,
        units=len(weights),
        seeds=counts,
        these_runs=ours.few_trainings or theirs.few_trainings,
    )
    notes = _notes(ours, theirs)
    lacking = [
        unit
        for unit in weights
        for table in (*ours.table.values(), *theirs.table.values())
        if table[unit].load is None
    ]
    if lacking:
        return replace(verdict, notes=(*notes, f"no stored outcomes of {lacking[0]}"))
    generator = np.random.default_rng([seed, *what.encode()])
    loaded = {unit: _paired_rows(ours, theirs, unit) for unit in sorted(weights)}
    n = sum(len(rows[0]) for rows in loaded.values())
    if all(len(rows[0]) < 2 for rows in loaded.values()):
        return replace(verdict, n=n, notes=(*notes, "one outcome a unit: nothing to draw from"))
    runs = sum(counts)
    values, drawn = np.zeros(runs), np.zeros((draws, runs))
    for unit, rows in loaded.items():
        pooled = next(iter(ours.table.values()))[unit].pooled
        one, many = resampled_scores(rows, pooled, draws, generator)
        values, drawn = values + weights[unit] * one, drawn + weights[unit] * many
    total, sd = _over_seeds(ours, theirs, Spread(values, drawn), generator)
    low, high = interval(total)
    p, test = p_value(total), "two-level bootstrap" if max(counts) >= FEWEST_SEEDS else "bootstrap"
    single = _mcnemar(loaded[next(iter(loaded))]) if len(loaded) == 1 else None
    if single is not None:
        p, test = single
    verdict = replace(verdict, p=p, test=test, n=n, sd=sd, notes=notes)
    if np.ptp(total) == 0:
        return replace(verdict, constant=True)
    return verdict if n < FEWEST_EXAMPLES else replace(verdict, low=low, high=high)


def _notes(ours: Runs, theirs: Runs) -> tuple[str, ...]:
    few = [
        runs for runs in (ours, theirs) if len(runs.table) < FEWEST_SEEDS and runs.seeds != (-1,)
    ]
    notes = [f"{len(runs.table)} seed of '{runs.label}': no spread over seeds" for runs in few]
    return tuple(note.replace("2 seed ", "2 seeds ") for note in notes)


def _over_seeds(
    ours: Runs, theirs: Runs, spread: Spread, generator: np.random.Generator
) -> tuple[Array, float | None]:
    """Draws of the difference, and its standard deviation over seeds where these are paired."""
    count = len(ours.table)
    first = Spread(spread.values[:count], spread.drawn[:, :count])
    second = Spread(spread.values[count:], spread.drawn[:, count:])
    if ours.seeds == theirs.seeds:
        paired = first - second
        return paired.mean(generator), standard_deviation(paired.values.tolist())
    own = standard_deviation(first.values.tolist()) if len(theirs.table) == 1 else None
    return first.mean(generator) - second.mean(generator), own


def _paired_rows(ours: Runs, theirs: Runs, unit: Unit) -> list[Array]:
    """Outcomes of every run on a unit, ours first, in the order of seeds."""
    found: list[Measured] = [
        runs.table[seed][unit] for runs in (ours, theirs) for seed in runs.seeds
    ]
    rows = [item.load() for item in found if item.load is not None]
    if len({item.data for item in found}) > 1 or len({row.shape for row in rows}) > 1:
        raise UsageError(
            f"'{ours.label}' and '{theirs.label}' were scored on different examples of {unit}",
            where=", ".join(dict.fromkeys(item.cell[:12] for item in found)),
            hint="Evaluate both again on the same data.",
        )
    return rows


def _mcnemar(rows: Sequence[Array]) -> tuple[float, str] | None:
    """McNemar's test of two runs on one unit; None unless outcomes are right or wrong."""
    if len(rows) != 2 or rows[0].shape[1] != 1 or not set(np.unique(rows)) <= {0.0, 1.0}:
        return None
    alone, other = int((rows[0] > rows[1]).sum()), int((rows[0] < rows[1]).sum())
    kind = "exact" if alone + other < EXACT_BELOW else "chi-squared"
    return mcnemar(alone, other), f"McNemar, {kind}"
