"""Module arithmetic: `a + b - c*0.5` (task arithmetic, arXiv:2212.04089).

LoRA modules are added as updates, exactly: ranks are concatenated and the weight goes into B.
Adapters and full encoders are added parameter by parameter, in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Generator, Tensor

from xstilts.composition import Option
from xstilts.errors import UsageError
from xstilts.methods.lora import LowRank, from_factors
from xstilts.operators import PartInfo
from xstilts.sites import Adapter

MERGES = True
OPTIONS: dict[str, Option] = {}


def check(parts: Sequence[PartInfo]) -> None:
    """Refuse parts that cannot become one module.

    Raises:
        UsageError: Different methods, adapters of different shape, or a part that is no one module.
    """
    first = parts[0]
    for part in parts:
        if not part.merged:
            raise UsageError(f"'{part.name}' is not one module, so it has no weights to combine")
        if part.method != first.method:
            raise UsageError(
                f"'{part.name}' is of method {part.method}, '{first.name}' of {first.method}",
                hint="Weights of different methods cannot be combined; stack them instead.",
            )
        if part.method in ("bottleneck", "language") and part.options != first.options:
            raise UsageError(
                f"adapters '{part.name}' and '{first.name}' have different options",
                hint="Parameters can only be combined when sites and sizes are the same.",
            )


def combine(
    modules: Sequence[Adapter],
    weights: Sequence[float],
    options: Mapping[str, Option],
    generator: Generator,
) -> Adapter:
    """The weighted sum of modules of one method."""
    del options, generator
    method = modules[0].method
    if method == "lora":
        return _sum_updates(modules, weights)
    if method == "full":
        states = [module.encoder_weights or {} for module in modules]
        return Adapter("full", modules[0].options, {}, weighted_sum(states, weights))
    total = weighted_sum([module.at.state_dict() for module in modules], weights)
    result = _like(modules[0])
    result.at.load_state_dict(total)
    return result


def weighted_sum(
    states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]
) -> dict[str, Tensor]:
    """The weighted sum of equally shaped tensors, in float32 and cast back once."""
    first = states[0]
    return {
        key: torch.stack(
            [state[key].float() * weight for state, weight in zip(states, weights, strict=True)]
        )
        .sum(0)
        .to(first[key].dtype)
        for key in first
    }


def _like(module: Adapter) -> Adapter:
    at = {key: copy.deepcopy(part) for key, part in module.at.items()}
    return Adapter(module.method, module.options, at)


def _sum_updates(modules: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    for key in sorted({key for module in modules for key in module.at}):
        pairs = [
            (cast("LowRank", module.at[key]), weight)
            for module, weight in zip(modules, weights, strict=True)
            if key in module.at
        ]
        a = torch.cat([part.A.detach().float() for part, _ in pairs])
        b = torch.cat([part.B.detach().float() * (part.scaling * w) for part, w in pairs], dim=1)
        factors[key] = (a, b)
    return from_factors(factors)
