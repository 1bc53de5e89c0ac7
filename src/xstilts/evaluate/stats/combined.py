"""Weighted sums of several expressions' scores, as runs that can be compared like any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from xstilts.errors import UsageError
from xstilts.evaluate.stats.resampling import Array, Pooled
from xstilts.evaluate.stats.samples import NO_SEED, Measured, Runs, Unit


class Term(NamedTuple):
    """A weight and the runs that it belongs to."""

    weight: float
    runs: Runs


def combined(terms: Sequence[Term], label: str) -> Runs:
    """Runs whose score is the weighted sum of the terms' scores, seed by seed.

    The mean of several intermediates has equal weights, a gain over a baseline 1 and -1. Outcomes
    stand beside each other, so that examples are drawn for all terms together; what has no seed
    stands beside every seed of the others.

    Raises:
        UsageError: The terms have no task and language in common, or other examples there.
    """
    shared = frozenset.intersection(*(term.runs.units for term in terms))
    if not shared:
        names = ", ".join(dict.fromkeys(term.runs.label for term in terms))
        raise UsageError(f"{names} have no task and language in common")
    table: dict[int, dict[Unit, Measured]] = {}
    for unit in sorted(shared):
        for seed in _seeds(terms, unit):
            parts = [_at(term.runs, seed, unit) for term in terms]
            made = _sum([term.weight for term in terms], parts, unit)
            table.setdefault(seed, {})[unit] = made
    return Runs(label, table)


def _seeds(terms: Sequence[Term], unit: Unit) -> list[int]:
    """The seeds that every term has on a unit; those without any fit each."""
    own = [{seed for seed, found in t.runs.table.items() if unit in found} for t in terms]
    drawn = [seeds for seeds in own if seeds != {NO_SEED}]
    return sorted(set.intersection(*drawn)) if drawn else [NO_SEED]


def _at(runs: Runs, seed: int, unit: Unit) -> Measured:
    found = runs.table.get(seed, {})
    return found[unit] if unit in found else runs.table[NO_SEED][unit]


def _sum(weights: Sequence[float], parts: Sequence[Measured], unit: Unit) -> Measured:
    if len({part.data for part in parts}) > 1:
        raise UsageError(
            f"runs were scored on different examples of {unit}",
            where=", ".join(dict.fromkeys(part.cell[:12] for part in parts)),
            hint="Evaluate them again on the same data.",
        )
    value = sum(w * part.value for w, part in zip(weights, parts, strict=True))
    loads = [part.load for part in parts]
    known = [load for load in loads if load is not None]
    load = _beside(known) if len(known) == len(loads) else None
    return Measured(
        value,
        load,
        _pooled(weights, parts[0].pooled),
        parts[0].data,
        parts[0].cell,
        any(part.trained for part in parts),
    )


def _beside(loads: Sequence[Callable[[], Array]]) -> Callable[[], Array]:
    return lambda: np.concatenate([load() for load in loads], axis=1)


def _pooled(weights: Sequence[float], each: Pooled) -> Pooled:
    """From the terms' summed outcomes beside each other, [..., terms * columns], to the sum."""

    def pooled(sums: Array, n: int) -> Array:
        parts = np.split(sums, len(weights), axis=-1)
        scores = (w * each(part, n) for w, part in zip(weights, parts, strict=True))
        result: Array = np.sum(list(scores), axis=0)
        return result

    return pooled
