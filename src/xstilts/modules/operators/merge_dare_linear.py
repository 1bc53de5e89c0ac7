"""DARE (Yu et al., 2024, arXiv:2311.03099): drop values at random, rescale the rest, then sum."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Generator, Tensor

from xstilts.modules.operators import MergeOptions
from xstilts.modules.operators._updates import drop, weighted_sum

ORDERED = DRAWS = True


class Options(MergeOptions):
    """`density` is the chance of each value to be kept; `seed` decides which are."""

    density: float = Field(default=0.5, gt=0, le=1)
    seed: int = 0


def merge(
    updates: Tensor, weights: Sequence[float], options: Options, generator: Generator
) -> Tensor:
    """The weighted sum of what is left."""
    return weighted_sum(drop(updates, options.density, generator), weights)
