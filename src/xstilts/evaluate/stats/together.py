"""Many comparisons in one pass: the examples of each task and language are redrawn once for all.

The draws of a comparison do not depend on what else is compared. Sums of redrawn outcomes are
products of a matrix of weights (how often each draw has each example) with the outcomes of all
runs side by side; means over languages of scores that are means themselves are one product, too.
One list of weights serves all units with as many examples, each taking its draws in an order of
its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from xstilts.errors import UsageError
from xstilts.evaluate.stats.resampling import Array, Pooled
from xstilts.evaluate.stats.samples import Measured, Runs, Unit
from xstilts.tasks.metrics._pooled import LINEAR

BLOCK = 2**22
"""Weights that are in memory at a time, besides those that are kept."""
KEPT = 2**24
"""Weights of a list that is kept for all units with as many examples."""
EXACT = 2**24
"""Whole numbers below it are exact in single precision."""
DIGITS = 9
"""Decimals of sums of fractions, so that sums of equal outcomes are equal."""

RunKey = tuple[str, int]
"""Label and seed."""


@dataclass(frozen=True)
class Contrast:
    """A weighted sum over units of ours minus theirs, both having all of the units.

    Attributes:
        weights: Unit to what it counts; below zero for what is subtracted.
        what: In words; it seeds the draws of seeds.
        notes: What a reader must know.
    """

    ours: Runs
    theirs: Runs
    weights: Mapping[Unit, float]
    what: str
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> list[tuple[RunKey, Mapping[Unit, Measured]]]:
        """Every run, ours first, in the order of seeds."""
        return [
            ((runs.label, seed), runs.table[seed])
            for runs in (self.ours, self.theirs)
            for seed in runs.seeds
        ]


@dataclass(frozen=True)
class Drawn:
    """What was drawn for a contrast, and seen.

    Attributes:
        n: Examples over all units.
        most: Examples of the largest unit.
        values: Weighted sum of scores of each run, as observed, [runs].
        scores: The same for each draw, [draws, runs].
        rows: Outcomes of each run on the only unit; empty for several.
    """

    n: int
    most: int
    values: Array
    scores: Array
    rows: Sequence[Array] = ()


@dataclass
class _Sums:
    """Contrasts with the same weights, which are added up together."""

    weights: Mapping[Unit, float]
    places: list[int] = field(default_factory=list)
    runs: dict[RunKey, Mapping[Unit, Measured]] = field(default_factory=dict)
    sizes: dict[RunKey, list[int]] = field(default_factory=dict)
    rows: dict[RunKey, Array] = field(default_factory=dict)
    values: Array = field(default_factory=lambda: np.zeros(0))
    scores: Array = field(default_factory=lambda: np.zeros((0, 0)))

    def begin(self, draws: int) -> None:
        """Make room, when the first unit comes."""
        if not self.scores.size:
            self.values, self.scores = np.zeros(len(self.runs)), np.zeros((draws, len(self.runs)))

    def of(self, contrast: Contrast) -> Drawn:
        """The observed and the redrawn scores of one contrast."""
        order = {key: place for place, key in enumerate(self.runs)}
        keys = [key for key, _ in contrast.runs]
        places = [order[key] for key in keys]
        rows = [self.rows[key] for key in keys] if len(self.weights) == 1 else []
        sizes = self.sizes[keys[0]]
        return Drawn(sum(sizes), max(sizes), self.values[places], self.scores[:, places], rows)


def drawn_together(
    contrasts: Sequence[Contrast],
    draws: int,
    seed: int = 0,
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> Iterator[tuple[int, Drawn]]:
    """Place of a contrast and its draws, as soon as its last unit is drawn.

    Args:
        contrasts: All with outcomes.
        draws: Of the examples of each unit.
        seed: Of the generators.
        progress: Called with the task that is drawn, and the share that is done.

    Raises:
        UsageError: Runs of a contrast were scored on different examples.
    """
    groups: dict[frozenset[tuple[Unit, float]], _Sums] = {}
    for place, contrast in enumerate(contrasts):
        _same_examples(contrast)
        sums = groups.setdefault(frozenset(contrast.weights.items()), _Sums(contrast.weights))
        sums.places.append(place)
        sums.runs |= dict(contrast.runs)
    waiting = {id(sums): {_kind(unit) for unit in sums.weights} for sums in groups.values()}
    kinds = sorted(set().union(*waiting.values()))
    weights = _Redraws(draws, seed)
    for number, kind in enumerate(kinds):
        progress(kind.task, number / len(kinds))
        own = [sums for sums in groups.values() if kind in waiting[id(sums)]]
        _add(kind, own, draws, weights)
        for sums in own:
            waiting[id(sums)].discard(kind)
            if not waiting[id(sums)]:
                for place in sums.places:
                    yield place, sums.of(contrasts[place])
                sums.scores = np.zeros((0, 0))


def _kind(unit: Unit) -> Unit:
    return unit._replace(language="")


def _same_examples(contrast: Contrast) -> None:
    for unit in contrast.weights:
        found = [table[unit] for _, table in contrast.runs]
        if any(item.data != found[0].data for item in found):
            raise different_examples(contrast.ours, contrast.theirs, unit, found)


def different_examples(
    ours: Runs, theirs: Runs, unit: Unit, found: Sequence[Measured]
) -> UsageError:
    """The error for runs that cannot be set side by side."""
    return UsageError(
        f"'{ours.label}' and '{theirs.label}' were scored on different examples of {unit}",
        where=", ".join(dict.fromkeys(item.cell[:12] for item in found)),
        hint="Evaluate both again on the same data.",
    )


# -- sums


@dataclass(frozen=True)
class _Outcomes:
    """Outcomes of runs on one unit, side by side.

    Attributes:
        keys: The runs.
        table: [examples, runs], or [examples, runs * columns] where scores are no means.
        scale: From sums to scores; None where `pooled` does that.
    """

    unit: Unit
    keys: tuple[RunKey, ...]
    table: Array
    scale: float | None
    pooled: Pooled


def _add(kind: Unit, groups: Sequence[_Sums], draws: int, weights: _Redraws) -> None:
    """Add the scores of a task's units to all sums that they count in."""
    alike: dict[tuple[object, ...], list[_Outcomes]] = defaultdict(list)
    for unit in sorted({u for sums in groups for u in sums.weights if _kind(u) == kind}):
        for outcomes in _outcomes(unit, groups):
            counted = tuple(sums.weights.get(unit) for sums in groups)
            one = (unit,) if outcomes.scale is None else ()
            alike[counted, outcomes.keys, outcomes.table.shape, outcomes.scale, one].append(
                outcomes
            )
    for sums in groups:
        sums.begin(draws)
    for units in alike.values():
        values, scores = _scores(units, weights)
        for sums in groups:
            weight = sums.weights.get(units[0].unit)
            if weight is None:
                continue
            order = {key: place for place, key in enumerate(sums.runs)}
            here = [at for at, key in enumerate(units[0].keys) if key in order]
            there = [order[units[0].keys[at]] for at in here]
            if units[0].keys == tuple(order):  # the usual case, without copies
                sums.scores += weight * scores
            else:
                sums.scores[:, there] += weight * scores[:, here]
            sums.values[there] += weight * values[here]


def _outcomes(unit: Unit, groups: Sequence[_Sums]) -> Iterator[_Outcomes]:
    """The outcomes of every run that counts on a unit; of other examples apart."""
    wanted: dict[object, dict[RunKey, Measured]] = defaultdict(dict)
    for sums in groups:
        if unit in sums.weights:
            for key, table in sums.runs.items():
                wanted[table[unit].data][key] = table[unit]
    for found in wanted.values():
        once: dict[int, Array] = {}
        for item in found.values():
            if id(item) not in once and item.load is not None:
                once[id(item)] = item.load()
        rows = [once[id(item)] for item in found.values()]
        if len({each.shape for each in rows}) > 1:
            few = sorted(found.items(), key=lambda pair: len(once[id(pair[1])]))
            names = [Runs(key[0], {}) for key, _ in (few[0], few[-1])]
            raise different_examples(names[0], names[1], unit, [few[0][1], few[-1][1]])
        for sums in (each for each in groups if unit in each.weights):
            for key in (key for key in sums.runs if key in found):
                sums.sizes.setdefault(key, []).append(len(rows[0]))
            if len(sums.weights) == 1:
                sums.rows |= dict(zip(found, rows, strict=True))
        pooled = next(iter(found.values())).pooled
        linear = LINEAR.get(pooled)
        if linear is None:
            yield _Outcomes(unit, tuple(found), np.concatenate(rows, axis=1), None, pooled)
            continue
        shares = np.array(linear) / max(linear)
        means = np.stack([each[:, : len(shares)] @ shares for each in rows], axis=1)
        yield _Outcomes(unit, tuple(found), means, max(linear) / len(means), pooled)


def _scores(units: Sequence[_Outcomes], weights: _Redraws) -> tuple[Array, Array]:
    """Sum over units of scores [runs] and redrawn scores [draws, runs]."""
    first = units[0]
    table = np.concatenate([each.table for each in units])
    whole = bool((table == np.rint(table)).all()) and np.abs(table).max() * len(table) < EXACT
    drawn = weights.times(
        table.astype(np.float32 if whole else np.float64), [u.unit for u in units]
    )
    if not whole:
        drawn = drawn.round(DIGITS)
    if first.scale is not None:
        return first.scale * table.sum(0), first.scale * drawn.astype(np.float64)
    n, runs = len(table), len(first.keys)
    values = first.pooled(table.sum(0).reshape(runs, -1), n)
    return values, first.pooled(drawn.astype(np.float64).reshape(len(drawn), runs, -1), n)


class _Redraws:
    """How often each draw has each example, the same for a unit whatever it is drawn for."""

    def __init__(self, draws: int, seed: int) -> None:
        self.draws, self.seed = draws, seed
        self.kept = lru_cache(maxsize=4)(self._list)

    def times(self, table: Array, units: Sequence[Unit]) -> Array:
        """Redrawn sums over units with equally many examples, below each other in the table.

        Returns:
            [draws, columns], in the table's precision.
        """
        n = len(table) // len(units)
        few = self.draws * n <= KEPT
        generators = [np.random.default_rng([self.seed, *str(unit).encode()]) for unit in units]
        orders = [g.permutation(self.draws) if few else None for g in generators]
        step = max(1, BLOCK // len(table))
        parts = []
        for start in range(0, self.draws, step):
            end = min(start + step, self.draws)
            each = [
                _counts(end - start, n, generator)
                if order is None
                else self.kept(n)[order[start:end]]
                for generator, order in zip(generators, orders, strict=True)
            ]
            parts.append(np.concatenate(each, axis=1).astype(table.dtype, copy=False) @ table)
        return np.concatenate(parts)

    def _list(self, n: int) -> Array:
        generator = np.random.default_rng([self.seed, n])
        step = max(1, BLOCK // n)
        sizes = [min(step, self.draws - start) for start in range(0, self.draws, step)]
        return np.concatenate([_counts(size, n, generator) for size in sizes])


def _counts(draws: int, n: int, generator: Generator) -> Array:
    """How often each of n examples is among n that are drawn with replacement, [draws, n]."""
    picks = generator.integers(0, n, (draws, n)) + n * np.arange(draws)[:, None]
    counts = np.bincount(picks.ravel(), minlength=draws * n).reshape(draws, n)
    found: Array = counts.astype(np.float32)
    return found
