"""Parallel: parts side by side; all read the same, and their updates are summed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from torch import Generator, Tensor, nn

from xstilts.backbone.sites import EncoderShape, Site
from xstilts.modules.nodes import weight_update_of
from xstilts.modules.operators import NoOptions


class SummedParts(nn.Module):
    """Parts that read the same, at a projection or the end of a sub-layer."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, *reads: Tensor | nn.Module | None) -> Tensor:
        """The sum of the parts' updates, [B, T, out]."""
        update: Tensor = self.parts[0](*reads)
        for part in self.parts[1:]:
            update = update + part(*reads)
        return update

    def weight_update(self) -> Tensor | None:
        """The sum of the parts' changes of the weight matrix; None where a part is none."""
        updates = [weight_update_of(part) for part in self.parts]
        known = [update for update in updates if update is not None]
        return reduce(Tensor.add, known) if len(known) == len(updates) else None


def at_site(
    site: Site,
    parts: Sequence[nn.Module],
    shape: EncoderShape,
    options: NoOptions,
    generator: Generator,
) -> nn.Module:
    """The parts side by side."""
    del site, shape, options, generator
    return parts[0] if len(parts) == 1 else SummedParts(parts)
