"""DARE's random dropping, then TIES's election of signs (arXiv:2311.03099, arXiv:2306.01708)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator, Tensor

from xstilts.modules.operators import merge_dare_linear
from xstilts.modules.operators._updates import Sign, drop, elect

ORDERED = DRAWS = True


class Options(merge_dare_linear.Options):
    """Those of DARE; `sign` says what elects a sign."""

    sign: Sign = "total"


def merge(
    updates: Tensor, weights: Sequence[float], options: Options, generator: Generator
) -> Tensor:
    """Mean of what is left of the updates that have the elected sign."""
    return elect(drop(updates, options.density, generator), weights, options.sign)
