"""TIES merging (Yadav et al., 2023, arXiv:2306.01708): trim, elect a sign, average who agrees."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Generator, Tensor

from xstilts.modules.operators import MergeOptions
from xstilts.modules.operators._updates import Sign, elect

TRIMS = True


class Options(MergeOptions):
    """`density` is the share of each update that is kept; `sign` says what elects a sign."""

    density: float = Field(default=0.5, gt=0, le=1)
    sign: Sign = "total"


def merge(
    updates: Tensor, weights: Sequence[float], options: Options, generator: Generator
) -> Tensor:
    """Mean of the trimmed updates that have the elected sign (section 3 of the paper)."""
    del generator
    return elect(updates, weights, options.sign)
