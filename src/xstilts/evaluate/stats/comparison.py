"""Paired comparisons of runs: of one expression with another, and of groups of units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from xstilts.config.draws import DRAWS
from xstilts.config.progress import ProgressFn, silent
from xstilts.errors import UsageError
from xstilts.evaluate.names import task_title
from xstilts.evaluate.stats.resampling import (
    Array,
    Spread,
    interval,
    p_value,
    resampled_scores,
)
from xstilts.evaluate.stats.samples import Runs, Unit
from xstilts.evaluate.stats.significance import (
    EXACT_BELOW,
    FEWEST_SEEDS,
    cohens_h,
    mcnemar,
    sign_test,
    standard_deviation,
)
from xstilts.evaluate.stats.together import Contrast, Drawn, different_examples, drawn_together
from xstilts.evaluate.stats.verdict import FEWEST_EXAMPLES, Verdict

DECIMALS = 9
"""Of drawn points: what a mean over seeds or languages rounds is no difference."""
FEWEST_DRAWN = 2
"""Examples of a unit below which nothing can be drawn anew."""
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
    return _tested(planned(ours, theirs, units, what), draws, seed)


def planned(
    ours: Runs, theirs: Runs, units: Iterable[Unit] | None = None, what: str = ""
) -> Contrast:
    """What `compare` compares, before anything is drawn; `compare_all` takes many.

    Raises:
        UsageError: They share no unit.
    """
    shared = _shared(ours, theirs, units)
    left = len(set(units) - set(shared)) if units is not None else 0
    notes = (f"{left} units without a score left out",) if left else ()
    sides = _on(ours, shared), _on(theirs, shared)
    return Contrast(*sides, _even(shared), what or _tasks(shared), notes)


def compare_all(
    contrasts: Sequence[Contrast],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    progress: ProgressFn = silent,
) -> list[Verdict]:
    """What `compare` finds for each, the examples of every unit redrawn once for all.

    Intervals and bootstrapped p-values differ from `compare`'s as those of another seed do.

    Raises:
        UsageError: Runs of a contrast were scored on different examples.
    """
    verdicts = {place: _untested(contrast) for place, contrast in enumerate(contrasts)}
    places = [place for place, contrast in enumerate(contrasts) if not _lacking(contrast)]
    known = [contrasts[place] for place in places]
    for number, drawn in drawn_together(known, draws, seed, progress):
        contrast = known[number]
        generator = np.random.default_rng([seed, *contrast.what.encode()])
        verdicts[places[number]] = _decided(contrast, drawn, generator)
    return list(verdicts.values())


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
    return _tested(planned_difference(ours, theirs, first, second, what), draws, seed)


def planned_difference(
    ours: Runs, theirs: Runs, first: Iterable[Unit], second: Iterable[Unit], what: str = ""
) -> Contrast:
    """What `difference_of_differences` compares, before anything is drawn.

    Raises:
        UsageError: One of the groups is empty.
    """
    groups = [_shared(ours, theirs, group) for group in (first, second)]
    both = set(groups[0]) & set(groups[1])
    if both:
        raise UsageError(f"{len(both)} units are in both groups", where=str(min(both)))
    minus = {unit: -weight for unit, weight in _even(groups[1]).items()}
    weights = {**_even(groups[0]), **minus}
    named = what or f"{len(groups[0])} units minus {len(groups[1])} others"
    return Contrast(_on(ours, weights), _on(theirs, weights), weights, named)


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
    counts = Counter(kinds)
    share = 1 / len(counts)
    return {unit: share / counts[kind] for unit, kind in zip(units, kinds, strict=True)}


def _tasks(units: Sequence[Unit]) -> str:
    names = list(dict.fromkeys(task_title(unit.task, unit.split) for unit in units))
    languages = len({unit.language for unit in units})
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    one = units[0].language if languages == 1 else f"{languages} languages"
    return f"{shown}: {one}"


def _mean_value(runs: Runs, unit: Unit) -> float:
    values = [table[unit].value for table in runs.table.values()]
    return sum(values) / len(values)


def _tested(contrast: Contrast, draws: int, seed: int) -> Verdict:
    """The verdict of a contrast on its own."""
    if _lacking(contrast):
        return _untested(contrast)
    generator = np.random.default_rng([seed, *contrast.what.encode()])
    loaded = {unit: _paired_rows(contrast, unit) for unit in sorted(contrast.weights)}
    sizes = [len(rows[0]) for rows in loaded.values()]
    runs = contrast.runs
    values, drawn = np.zeros(len(runs)), np.zeros((draws, len(runs)))
    for unit, rows in loaded.items():
        if max(sizes) < FEWEST_DRAWN:
            break
        one, many = resampled_scores(rows, runs[0][1][unit].pooled, draws, generator)
        weight = contrast.weights[unit]
        values, drawn = values + weight * one, drawn + weight * many
    rows = loaded[next(iter(loaded))] if len(loaded) == 1 else []
    return _decided(contrast, Drawn(sum(sizes), max(sizes), values, drawn, rows), generator)


def _lacking(contrast: Contrast) -> list[Unit]:
    """Units of which some run has no outcomes."""
    tables = [table for _, table in contrast.runs]
    return [u for u in contrast.weights if any(table[u].load is None for table in tables)]


def _untested(contrast: Contrast) -> Verdict:
    """The effect, and why there is no more where outcomes are lacking."""
    ours, theirs, weights = contrast.ours, contrast.theirs, contrast.weights
    means = [{unit: _mean_value(runs, unit) for unit in weights} for runs in (ours, theirs)]
    differences = {unit: means[0][unit] - means[1][unit] for unit in weights}
    verdict = Verdict(
        ours.label,
        theirs.label,
        contrast.what,
        sum(w * differences[unit] for unit, w in weights.items()),
        units=len(weights),
        seeds=(len(ours.table), len(theirs.table)),
        these_runs=ours.few_trainings or theirs.few_trainings,
        notes=_notes(ours, theirs),
    )
    if not any(weight < 0 for weight in weights.values()):
        wins, losses, sign_p = sign_test(list(differences.values()))
        sums = (sum(w * each[unit] for unit, w in weights.items()) for each in means)
        verdict = replace(
            verdict,
            wins=wins,
            losses=losses,
            sign_p=sign_p if wins + losses >= FEWEST_SIGNS else None,
            size=cohens_h(*sums),
        )
    lacking = _lacking(contrast)
    more = (f"no stored outcomes of {lacking[0]}",) if lacking else ()
    return replace(verdict, notes=(*verdict.notes, *more, *contrast.notes))


def _decided(contrast: Contrast, drawn: Drawn, generator: np.random.Generator) -> Verdict:
    """The verdict, with intervals and tests from what was drawn."""
    verdict = _untested(contrast)
    if drawn.most < FEWEST_DRAWN:
        at = len(verdict.notes) - len(contrast.notes)
        idle = "one outcome a unit: nothing to draw from"
        notes = (*verdict.notes[:at], idle, *contrast.notes)
        return replace(verdict, n=drawn.n, notes=notes)
    ours, theirs = contrast.ours, contrast.theirs
    total, sd = _over_seeds(ours, theirs, Spread(drawn.values, drawn.scores), generator)
    total = total.round(DECIMALS)
    low, high = interval(total)
    two_level = max(verdict.seeds) >= FEWEST_SEEDS
    p, test = p_value(total), "two-level bootstrap" if two_level else "bootstrap"
    single = _mcnemar(drawn.rows)
    if single is not None:
        p, test = single
    verdict = replace(verdict, p=p, test=test, n=drawn.n, sd=sd)
    if np.ptp(total) == 0:
        return replace(verdict, constant=True)
    return verdict if drawn.n < FEWEST_EXAMPLES else replace(verdict, low=low, high=high)


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


def _paired_rows(contrast: Contrast, unit: Unit) -> list[Array]:
    """Outcomes of every run on a unit, ours first, in the order of seeds."""
    found = [table[unit] for _, table in contrast.runs]
    rows = [item.load() for item in found if item.load is not None]
    if len({item.data for item in found}) > 1 or len({row.shape for row in rows}) > 1:
        raise different_examples(contrast.ours, contrast.theirs, unit, found)
    return rows


def _mcnemar(rows: Sequence[Array]) -> tuple[float, str] | None:
    """McNemar's test of two runs on one unit; None unless outcomes are right or wrong."""
    if len(rows) != 2 or rows[0].shape[1] != 1 or not set(np.unique(rows)) <= {0.0, 1.0}:
        return None
    alone, other = int((rows[0] > rows[1]).sum()), int((rows[0] < rows[1]).sum())
    kind = "exact" if alone + other < EXACT_BELOW else "chi-squared"
    return mcnemar(alone, other), f"McNemar, {kind}"
