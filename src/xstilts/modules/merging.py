"""How updates are merged: what an operator asks, and a method carries out for its modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xstilts.modules.weights import ModuleWeights


@dataclass(frozen=True)
class Merge:
    """A way of merging the updates of one tensor in N modules.

    Attributes:
        function: [N, …] updates in float32 to the merged one; number by number, unless `draws`, so
            that it may get some rows at a time.
        density: Share of each update that is kept before, the largest; see `trim`.
        draws: `function` draws at random, so it gets each tensor once, and whole.
        rank: Of low-rank updates; 0 is the sum of the parts' ranks. The rest is cut off (SVD).
    """

    function: Callable[[Tensor], Tensor]
    density: float = 1.0
    draws: bool = False
    rank: int = 0

    def __call__(self, updates: Tensor) -> Tensor:
        """The merged update of whole [N, …] updates."""
        return self.function(trim(updates, self.density))


def merged_parameters(modules: Sequence[ModuleWeights], merge: Merge) -> ModuleWeights:
    """The module whose parameters are the merged ones of modules with the same options.

    Their combination is that of the parameters, not of the functions.
    """
    first = modules[0]
    states = [module.at.state_dict() for module in modules]
    total = {
        key: merge(torch.stack([state[key].float() for state in states])).to(value.dtype)
        for key, value in states[0].items()
    }
    nodes = {key: copy.deepcopy(module) for key, module in first.at.items()}
    result = ModuleWeights(first.method, first.options, nodes)
    result.at.load_state_dict(total)
    return result


def trim(updates: Tensor, density: float) -> Tensor:
    """Keep the `density` largest values by magnitude of each [N, …] update, zero the rest.

    Values as large as the least that is kept stay too, as in the code of TIES's authors.
    """
    if density >= 1:
        return updates
    flat = updates.abs().flatten(1)
    keep = int(density * flat.shape[1])
    if not keep:
        return torch.zeros_like(updates)
    return keep_from(updates, flat.kthvalue(flat.shape[1] - keep + 1, dim=1).values)


def keep_from(updates: Tensor, least: Tensor) -> Tensor:
    """Zero what is smaller in magnitude than `least`, [N], in [N, …] updates."""
    limits = least.view(-1, *[1] * (updates.ndim - 1))
    return torch.where(updates.abs() >= limits, updates, 0.0)
