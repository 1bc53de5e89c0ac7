"""Weighted sum of updates (task arithmetic, arXiv:2212.04089), optionally cut to a rank.

Unlike peft's `linear`, which sums the factors with the square roots of the weights, this is the sum
of the updates themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Generator

from xstilts.backbone.sites import ModuleWeights
from xstilts.modules.operators import Option, _updates

MERGES = True
ORDERED = False
OPTIONS: dict[str, Option] = {"rank": 0}
check = _updates.check


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: Mapping[str, Option],
    generator: Generator,
) -> ModuleWeights:
    """The sum; `rank` 0 keeps all of it."""
    del generator
    merge = partial(_updates.weighted_sum, weights=weights)
    return _updates.merged(modules, merge, int(options["rank"]))
