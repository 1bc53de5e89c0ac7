"""Bootstrap of scores that are functions of summed outcomes, examples resampled in pairs.

Examples are drawn with replacement, the same ones for every run of every system (Efron and
Tibshirani, 1993; Koehn, 2004). Test examples are shared by all seeds, so examples and seeds are
crossed; and three seeds are too few to be drawn from. The seeds' part of an interval is therefore
drawn from Student's t with the spread of the seeds. That spread holds what the choice of examples
does to single seeds, so the examples' part is shrunk to what they do to all seeds alike. Without
spread over seeds this is the plain paired bootstrap, without any over examples the t interval; a
test simulates the coverage in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from xstilts.evaluate.stats.significance import FEWEST_SEEDS

Array = NDArray[np.float64]
Pooled = Callable[[Array, int], Array]
"""Scores [...] from summed outcomes [..., columns] of n examples; see `xstilts.tasks.metrics`."""

LEVEL = 0.95
BLOCK = 2**22
"""Weights that are in memory at a time."""


def resampled_sums(rows: Array, draws: int, generator: Generator) -> Array:
    """Sums of `len(rows)` rows drawn with replacement, [draws, columns].

    Equal rows are drawn together, from a multinomial over the different ones: the distribution is
    the same, and correct or wrong answers of two systems have only four different rows.
    """
    patterns, repeats = np.unique(rows, axis=0, return_counts=True)
    shares = repeats / len(rows)
    step = max(1, BLOCK // len(patterns))
    parts = [
        generator.multinomial(len(rows), shares, min(step, draws - start)) @ patterns
        for start in range(0, draws, step)
    ]
    return np.concatenate(parts)


def resampled_scores(
    runs: Sequence[Array], pooled: Pooled, draws: int, generator: Generator
) -> tuple[Array, Array]:
    """Scores of several runs on one list of examples, as observed and for each draw.

    Args:
        runs: Outcomes of each run, [examples, columns].
        pooled: From sums to the score.
        draws: Of the examples.
        generator: Draws.

    Returns:
        Scores [runs] and [draws, runs].
    """
    size, columns = runs[0].shape
    joined = np.concatenate(runs, axis=1)
    drawn = resampled_sums(joined, draws, generator).reshape(draws, len(runs), columns)
    observed = joined.sum(0).reshape(len(runs), columns)
    return pooled(observed, size), pooled(drawn, size)


@dataclass(frozen=True)
class Spread:
    """A quantity that has a value for each of some seeds.

    Attributes:
        values: Its value for each seed, [seeds].
        drawn: The same for each draw of examples, [draws, seeds].
    """

    values: Array
    drawn: Array

    def __sub__(self, other: Spread) -> Spread:
        """The difference, seed by seed."""
        return Spread(self.values - other.values, self.drawn - other.drawn)

    def mean(self, generator: Generator) -> Array:
        """Draws of the mean over seeds, over examples and seeds, [draws].

        With fewer than `FEWEST_SEEDS` seeds it varies over examples only.
        """
        drawn: Array = self.drawn.mean(1)
        seeds = len(self.values)
        if seeds < FEWEST_SEEDS:
            return drawn
        own = (self.drawn - drawn[:, None]).var(0).sum() / (seeds - 1)
        every = drawn.var()
        shared = np.sqrt(max(0.0, every - own / seeds) / every) if every else 0.0
        centre = drawn.mean()
        noise = generator.standard_t(seeds - 1, len(drawn))
        of_seeds = np.sqrt(self.values.var(ddof=1) / seeds)
        result: Array = centre + shared * (drawn - centre) + of_seeds * noise
        return result


def standard_error(rows: Array, pooled: Pooled) -> float:
    """Jackknife standard error of a score over its examples (Efron and Tibshirani, 1993, ch. 11).

    For a share of right answers it is sqrt(p (1 - p) / (n - 1)).

    Args:
        rows: Outcomes, [examples, columns]; at least two examples.
        pooled: From sums to the score.
    """
    size = len(rows)
    without_one = pooled(rows.sum(0) - rows, size - 1)
    return float(np.sqrt((size - 1) * without_one.var()))


def interval(drawn: Array, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval."""
    rest = (1 - level) / 2
    low, high = np.quantile(drawn, [rest, 1 - rest])
    return float(low), float(high)


def p_value(drawn: Array) -> float:
    """Two-sided p-value for zero: the largest level whose interval has zero outside.

    Draws that are exactly zero count on both sides; it is never below 2 / (draws + 1).
    """
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(drawn)))
