"""Tests and effect sizes on counts and p-values; small functions, each checked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import stdev

from xstilts.errors import UsageError

EXACT_BELOW = 25
"""Discordant pairs below which McNemar's test is the exact binomial one."""
FEWEST_SEEDS = 3
"""Seeds below which no standard deviation is given."""


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's test (1947) for paired right and wrong answers.

    Exact below `EXACT_BELOW` discordant pairs; above, chi-squared with the correction for
    continuity.

    Args:
        only_first: Examples that the first system alone has right.
        only_second: Examples that the second alone has right.
    """
    total = only_first + only_second
    if total < EXACT_BELOW:
        return _fair_coin(only_first, total)
    statistic = max(0.0, abs(only_first - only_second) - 1) ** 2 / total
    return math.erfc(math.sqrt(statistic / 2))  # of chi-squared with one degree of freedom


def sign_test(differences: Sequence[float]) -> tuple[int, int, float]:
    """Positive differences, negative ones, and the exact two-sided p-value; ties are left out.

    Args:
        differences: One a language, say; they count as independent.
    """
    wins = sum(value > 0 for value in differences)
    losses = sum(value < 0 for value in differences)
    return wins, losses, _fair_coin(wins, wins + losses)


def _fair_coin(heads: int, throws: int) -> float:
    """How probable a fair coin makes a result at least this uneven, both ways; exact."""
    tail = sum(math.comb(throws, few) for few in range(min(heads, throws - heads) + 1))
    return min(1.0, 2 * tail / 2**throws)


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted for all of a family being looked at (Holm, 1979), in the order given.

    Raises:
        UsageError: One is not between 0 and 1.
    """
    if any(not 0 <= value <= 1 for value in values):
        raise UsageError("p-values lie between 0 and 1")
    order = sorted(range(len(values)), key=lambda place: values[place])
    adjusted = [0.0] * len(values)
    running = 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = running
    return adjusted


def standard_deviation(values: Sequence[float]) -> float | None:
    """Of a sample; None for fewer than `FEWEST_SEEDS` values."""
    return stdev(values) if len(values) >= FEWEST_SEEDS else None


def cohens_h(first: float, second: float) -> float:
    """Difference of two shares after the arcsine transform (Cohen, 1988); 0.2 counts as small.

    Args:
        first: 0..100.
        second: 0..100.
    """
    a, b = (
        2 * math.asin(math.sqrt(min(max(value, 0.0), 100.0) / 100)) for value in (first, second)
    )
    return a - b
