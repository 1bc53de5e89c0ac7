"""Scores as functions of summed outcomes, on whole arrays of resampled sums at once.

Each takes `sums` [..., columns of an outcome] (one column where outcomes are numbers) and `n`, how
many examples were summed, and gives the score [...].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mean(sums: Array, n: int) -> Array:
    """100 times the mean of the first column."""
    return 100.0 * sums[..., 0] / n


def mean_of_two(sums: Array, n: int) -> Array:
    """100 times the mean of both columns: exact match and F1."""
    return 50.0 * (sums[..., 0] + sums[..., 1]) / n


def mean_of_second(sums: Array, n: int) -> Array:
    """100 times the mean of the second column: F1 beside exact match."""
    return 100.0 * sums[..., 1] / n


LINEAR: Mapping[Callable[..., Any], tuple[float, ...]] = {
    mean: (100.0,),
    mean_of_two: (50.0, 50.0),
    mean_of_second: (0.0, 100.0),
}
"""Scores that are means over examples, to what a column of an outcome counts in them."""


def ratio(sums: Array, n: int) -> Array:
    """100 times the first column over the second; 0 where there is nothing."""
    del n
    return 100.0 * _over(sums[..., 0], sums[..., 1])


def f1(sums: Array, n: int) -> Array:
    """F1 of (right, predicted, gold); 0 where nothing is right."""
    del n
    return 200.0 * _over(sums[..., 0], sums[..., 1] + sums[..., 2])


def perplexity(sums: Array, n: int) -> Array:
    """E to the first column (nats) over the second (sub-words)."""
    del n
    result: Array = np.exp(sums[..., 0] / np.maximum(sums[..., 1], 1.0))
    return result


def _over(part: Any, whole: Any) -> Array:
    result: Array = np.divide(part, whole, out=np.zeros_like(part, np.float64), where=whole > 0)
    return result
