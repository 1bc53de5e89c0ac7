"""Weighted sum of LoRA updates, cut to the best approximation of one rank."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator

from xstilts.modules.methods.lora import ranks_of
from xstilts.modules.operators import MergeOptions, check_low_rank
from xstilts.modules.operators._updates import summed
from xstilts.modules.weights import ModuleWeights

Options = MergeOptions
check = check_low_rank


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: Options,
    generator: Generator,
) -> ModuleWeights:
    """The sum at `rank`; 0 is the largest rank of the parts."""
    del generator
    return summed(modules, weights, options.rank or max(map(max, map(ranks_of, modules))))
