"""Weighted sum of LoRA updates, cut to the best approximation of one rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Generator

from xstilts.backbone.sites import ModuleWeights
from xstilts.modules.operators import Option, _updates, merge_linear

MERGES = True
ORDERED = False
OPTIONS: dict[str, Option] = {"rank": 0}
check = _updates.check_lora


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: Mapping[str, Option],
    generator: Generator,
) -> ModuleWeights:
    """The sum at `rank`; 0 is the largest rank of the parts."""
    top = max(len(part.A) for module in modules for part in module.at.values())  # type: ignore[arg-type]
    rank = int(options["rank"]) or top
    return merge_linear.combine(modules, weights, {"rank": rank}, generator)
