"""Modules as updates of weights, and back: what the merging operators share.

A LoRA module is an update of each projection it acts on; its factors mean nothing by themselves. A
full fine-tune is its difference from the backbone. A bottleneck adapter has no weights that it
updates, so its parameters stand for it: their combination is not that of the functions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from xstilts.errors import UsageError
from xstilts.methods.lora import LowRank, from_factors
from xstilts.operators import PartInfo
from xstilts.sites import Adapter

Merge = Callable[[Tensor], Tensor]
"""[N, …] of one tensor in N modules to the merged tensor."""


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
        if part.method not in ("lora", "full") and part.options != first.options:
            raise UsageError(
                f"adapters '{part.name}' and '{first.name}' have different options",
                hint="Parameters can only be combined when sites and sizes are the same.",
            )


def check_lora(parts: Sequence[PartInfo]) -> None:
    """As `check`, and only LoRA modules.

    Raises:
        UsageError: Another method.
    """
    check(parts)
    if parts[0].method != "lora":
        raise UsageError(
            f"'{parts[0].name}' is of method {parts[0].method}, and this operator takes LoRA",
            hint="Use average(…) or a sum.",
        )


def merged(modules: Sequence[Adapter], merge: Merge, rank: int) -> Adapter:
    """One module from tensors that are merged one by one.

    Args:
        modules: Of one method.
        merge: Combines the updates of one tensor, already in float32.
        rank: Of LoRA updates; 0 is the sum of the parts' ranks. The rest is cut off (SVD).
    """
    first = modules[0]
    if first.method == "lora":
        return _merged_lora(modules, merge, rank)
    if first.method == "full":
        return _merged_full(modules, merge)
    states = [module.at.state_dict() for module in modules]
    total = {
        key: merge(torch.stack([state[key].float() for state in states])).to(value.dtype)
        for key, value in states[0].items()
    }
    result = Adapter(
        first.method, first.options, {k: copy.deepcopy(m) for k, m in first.at.items()}
    )
    result.at.load_state_dict(total)
    return result


def _merged_lora(modules: Sequence[Adapter], merge: Merge, rank: int) -> Adapter:
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    lost = whole = 0.0
    for key in sorted({key for module in modules for key in module.at}):
        parts = [cast("LowRank", module.at[key]) for module in modules if key in module.at]
        shape = parts[0].update().shape
        zero = torch.zeros(shape)
        updates = [
            cast("LowRank", module.at[key]).update().detach() if key in module.at else zero
            for module in modules
        ]
        update = merge(torch.stack(updates))
        keep = min(rank or sum(len(part.A) for part in parts), *shape)
        factors[key], error = low_rank(update, keep)
        lost, whole = lost + error, whole + float(update.pow(2).sum())
    result = from_factors(factors)
    result.error = (lost / whole) ** 0.5 if whole else 0.0
    return result


def low_rank(update: Tensor, rank: int) -> tuple[tuple[Tensor, Tensor], float]:
    """The closest factors (A [rank, in], B [out, rank]), and the squared error that remains."""
    left, values, right = torch.linalg.svd(update.double(), full_matrices=False)
    root = values[:rank].sqrt()
    pair = ((root[:, None] * right[:rank]).float(), (left[:, :rank] * root).float())
    return pair, float(values[rank:].pow(2).sum())


def _merged_full(modules: Sequence[Adapter], merge: Merge) -> Adapter:
    """Differences from the backbone are merged, tensor by tensor."""
    base = modules[0].base
    states = [module.encoder_weights or {} for module in modules]
    total = {}
    for key, value in states[0].items():
        start = base[key].detach().float().cpu()
        updates = torch.stack([state[key].float().cpu() - start for state in states])
        total[key] = (start + merge(updates)).to(value.dtype)
    result = Adapter("full", modules[0].options, {}, total)
    result.base = base
    return result


# -- TIES and DARE


def trim(updates: Tensor, density: float) -> Tensor:
    """Keep the `density` largest values by magnitude of each [N, …] update, zero the rest."""
    flat = updates.flatten(1)
    keep = int(density * flat.shape[1])
    if keep >= flat.shape[1]:
        return updates
    kept = torch.zeros_like(flat)
    if keep:
        index = flat.abs().topk(keep, dim=1).indices
        kept.scatter_(1, index, flat.gather(1, index))
    return kept.view_as(updates)


def drop(updates: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Keep each value with probability `density` and divide it by that (DARE)."""
    kept = torch.rand(updates.shape, generator=generator) < density
    return torch.where(kept, updates / density, 0.0)


def elect(updates: Tensor, weights: Sequence[float], how: str) -> Tensor:
    """Mean over the weighted updates whose sign is the elected one (TIES, section 3).

    Args:
        updates: [N, …], trimmed.
        weights: N factors, applied after the election.
        how: `total` elects the sign of the sum, `frequency` that of the count.
    """
    votes = updates.sum(0) if how == "total" else updates.sign().sum(0)
    elected = torch.where(votes >= 0, 1.0, -1.0)
    agree = updates.sign() == elected
    weighted = updates * scale(weights, updates)
    return (weighted * agree).sum(0) / agree.sum(0).clamp(min=1)


def scale(weights: Sequence[float], updates: Tensor) -> Tensor:
    """N weights in the shape of [N, …] updates."""
    return torch.tensor(weights, dtype=updates.dtype).view(-1, *[1] * (updates.ndim - 1))


def require_density(options: Mapping[str, object]) -> float:
    """The `density` option.

    Raises:
        UsageError: It is not above 0 and at most 1.
    """
    density = float(cast("float", options["density"]))
    if not 0 < density <= 1:
        raise UsageError(f"density {density:g} is not above 0 and at most 1")
    return density


def require_sign(options: Mapping[str, object]) -> str:
    """The `sign` option.

    Raises:
        UsageError: It is neither `total` nor `frequency`.
    """
    how = str(options["sign"])
    if how not in ("total", "frequency"):
        raise UsageError(f"sign={how} is unknown", hint="Known: total, frequency.")
    return how
