"""Arithmetic of updates that merge methods share; [N, …] is one tensor's update in N modules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from xstilts.modules.merging import Merge
from xstilts.modules.methods import METHODS
from xstilts.modules.weights import ModuleWeights

Sign = Literal["total", "frequency"]
"""What elects a sign: the sum of the updates, or the count of their signs."""


def drop(updates: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Keep each value with probability `density` and divide it by that (DARE)."""
    kept = torch.rand(updates.shape, generator=generator) < density
    return torch.where(kept, updates / density, 0.0)


def elect(updates: Tensor, weights: Sequence[float], how: Sign) -> Tensor:
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


def weighted_sum(updates: Tensor, weights: Sequence[float]) -> Tensor:
    """The sum of [N, …] updates, each times its weight."""
    return (updates * scale(weights, updates)).sum(0)


def scale(weights: Sequence[float], updates: Tensor) -> Tensor:
    """N weights in the shape of [N, …] updates."""
    return torch.tensor(weights, dtype=updates.dtype).view(-1, *[1] * (updates.ndim - 1))


def summed(modules: Sequence[ModuleWeights], weights: Sequence[float], rank: int) -> ModuleWeights:
    """The module whose updates are the weighted sums, cut to a rank (0: whole)."""
    merge = Merge(partial(weighted_sum, weights=weights), rank=rank)
    return METHODS.get(modules[0].method).merged(modules, merge)
