"""Weighted mean of LoRA factors, A and B each by themselves: not the mean of the updates.

Some published mergers do this (`B` times `A` of the means has terms across modules), so it is here
under a name of its own, for comparison; `average` is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator, Tensor

from xstilts.errors import UsageError
from xstilts.modules.methods.lora import LowRank
from xstilts.modules.operators import NoOptions, PartInfo, check_low_rank
from xstilts.modules.operators import average as exact
from xstilts.modules.weights import ModuleWeights

SHARES = KEEPS_RANKS = True


def check(parts: Sequence[PartInfo]) -> None:
    """Refuse anything but LoRA modules with the same options.

    Raises:
        UsageError: Another method, or other sites, ranks or scales, as merges have.
    """
    check_low_rank(parts)
    for part in parts[1:]:
        if part.options != parts[0].options:
            raise UsageError(
                f"'{part.name}' and '{parts[0].name}' have different options",
                hint="Factors can only be averaged where sites, ranks and scales are the same; "
                "average(…) takes any.",
            )


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: NoOptions,
    generator: Generator,
) -> ModuleWeights:
    """The module of mean factors; parts without weights count the same.

    Raises:
        UsageError: Weights are given and do not sum to one.
    """
    del options, generator
    shares = exact.shares(weights)
    at = {}
    for key, first in modules[0].at.items():
        parts = [module.at[key] for module in modules]
        assert isinstance(first, LowRank)
        mean = LowRank((first.A.shape[1], len(first.B)), len(first.A), 1.0, 0.0)
        mean.scaling = first.scaling
        for name in ("A", "B"):
            terms: list[Tensor] = [
                getattr(part, name).detach().float() * share
                for part, share in zip(parts, shares, strict=True)
            ]
            getattr(mean, name).data = sum(terms[1:], terms[0])
        at[key] = mean
    return ModuleWeights("lora", modules[0].options, at)
