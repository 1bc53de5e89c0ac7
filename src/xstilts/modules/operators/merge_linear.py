"""Weighted sum of updates (task arithmetic, arXiv:2212.04089), optionally cut to a rank.

Unlike peft's `linear`, which sums the factors with the square roots of the weights, this is the sum
of the updates themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator, Tensor

from xstilts.modules.operators import MergeOptions
from xstilts.modules.operators._updates import weighted_sum

Options = MergeOptions


def merge(
    updates: Tensor, weights: Sequence[float], options: Options, generator: Generator
) -> Tensor:
    """The sum; with rank 0 all of it."""
    del options, generator
    return weighted_sum(updates, weights)
