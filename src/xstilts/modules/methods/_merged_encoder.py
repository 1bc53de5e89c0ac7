"""Merges of whole encoders, computed when rows are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from xstilts.backbone.lazy_tensors import Info, LazyTensors, info_of, rows_of
from xstilts.modules.merging import Merge, keep_from
from xstilts.modules.weights import ModuleWeights


class MergedEncoder(LazyTensors):
    """Encoders whose differences from the backbone are merged when rows are asked for.

    Neither the parts nor the result need to be in memory: a piece of each is.

    Args:
        modules: Full fine-tunes of one backbone.
        merge: How; its `function` gets trimmed rows.
    """

    def __init__(self, modules: Sequence[ModuleWeights], merge: Merge) -> None:
        self.base = modules[0].base
        self.states = [module.encoder_weights or {} for module in modules]
        self.merge, self.density = merge.function, merge.density
        self._least: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.states[0])

    def __len__(self) -> int:
        return len(self.states[0])

    def info(self, name: str) -> Info:
        return info_of(self.states[0], name)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        base, updates = self._updates(name, start, stop)
        if self.density < 1:
            if name not in self._least:
                self._least[name] = self._kept_from(name)
            updates = keep_from(updates, self._least[name])
        return (base + self.merge(updates)).to(self.info(name).dtype)

    def _updates(self, name: str, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Rows of the backbone, and of what each module changed, [N, …]; float32."""
        base = rows_of(self.base, name, start, stop).float()
        parts = [rows_of(state, name, start, stop).float() - base for state in self.states]
        return base, torch.stack(parts)

    def _kept_from(self, name: str) -> Tensor:
        """The least magnitude that is kept of each module's update, [N].

        Magnitudes of float32 are ordered as their bits are: the upper half of the bits of the
        wanted one is found in one pass over the pieces, the lower half in another.
        """
        info = self.info(name)
        keep = int(self.density * info.numel)
        upper = self._counted(name, None)
        high, above = _from_top(upper, torch.full((len(self.states),), keep))
        lower = self._counted(name, high)
        low, _ = _from_top(lower, keep - above)
        bits = (high << 16 | low).to(torch.int32).view(torch.float32)
        return bits if keep else torch.full_like(bits, torch.inf)

    def _counted(self, name: str, upper: Tensor | None) -> Tensor:
        """How many magnitudes have each upper half, or with that given, each lower; [N, 2^16]."""
        total = torch.zeros(len(self.states), 2**16, dtype=torch.int64)
        for start, stop in self.info(name).pieces():
            _, updates = self._updates(name, start, stop)
            bits = updates.abs().flatten(1).view(torch.int32)
            for number, row in enumerate(bits):
                chosen = row >> 16
                if upper is not None:
                    chosen = row[chosen == upper[number]] & 0xFFFF
                total[number] += torch.bincount(chosen, minlength=2**16)
        return total


def _from_top(counts: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The bin of the `wanted`-th largest of [N, bins] counts, and how many are in higher ones."""
    from_top = counts.flip(1).cumsum(1)
    place = (from_top < wanted[:, None]).sum(1).clamp(max=counts.shape[1] - 1)
    above = torch.where(place > 0, from_top.gather(1, (place - 1).clamp(min=0)[:, None])[:, 0], 0)
    return counts.shape[1] - 1 - place, above


def merged_at_once(modules: Sequence[ModuleWeights], merge: Merge) -> dict[str, Tensor]:
    """The merged encoder, each tensor whole and computed now."""
    parts = MergedEncoder(modules, merge)
    total = {}
    for name in parts:
        info = parts.info(name)
        base, updates = parts._updates(name, 0, info.shape[0] if info.shape else 1)
        total[name] = (base + merge(updates)).to(info.dtype).view(info.shape)
    return total
