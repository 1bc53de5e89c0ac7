"""Module arithmetic: `a + b - c*0.5` (task arithmetic, arXiv:2212.04089).

LoRA modules are added as updates, exactly: ranks are concatenated and the weight goes into B.
Adapters are added parameter by parameter, full encoders as differences from the backbone, in
float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Generator, Tensor

from xstilts.modules.methods import METHODS
from xstilts.modules.methods.lora import LowRank, from_factors
from xstilts.modules.operators import NoOptions
from xstilts.modules.operators._updates import summed
from xstilts.modules.weights import ModuleWeights


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: NoOptions,
    generator: Generator,
) -> ModuleWeights:
    """The weighted sum of modules of one method; of full fine-tunes, of what they changed."""
    del options, generator
    if METHODS.get(modules[0].method).LOW_RANK:
        return _joined(modules, weights)
    return summed(modules, weights, 0)


def _joined(modules: Sequence[ModuleWeights], weights: Sequence[float]) -> ModuleWeights:
    """LoRA factors side by side, the weights in B."""
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
