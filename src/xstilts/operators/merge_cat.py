"""Weighted sum of LoRA updates by joining their factors: exact, of the ranks' sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Generator

from xstilts.composition import Option
from xstilts.operators import _updates
from xstilts.operators import sum as module_sum
from xstilts.sites import Adapter

MERGES = True
ORDERED = False
OPTIONS: dict[str, Option] = {}
check = _updates.check_lora


def combine(
    modules: Sequence[Adapter],
    weights: Sequence[float],
    options: Mapping[str, Option],
    generator: Generator,
) -> Adapter:
    """The sum, no number rounded but by its weight."""
    return module_sum.combine(modules, weights, options, generator)
