"""Parallel: parts side by side; all read the same, and their updates are summed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator, Tensor, nn

from xstilts.backbone.sites import EncoderShape, Site
from xstilts.modules.operators import NoOptions
from xstilts.modules.operators.stack import SummedProjection


class ParallelSublayer(nn.Module):
    """Parts side by side at the end of a sub-layer. Shapes: all [B, T, D]."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, hidden: Tensor, residual: Tensor, norm: nn.Module | None) -> Tensor:
        """The sum of the parts' updates."""
        update: Tensor = self.parts[0](hidden, residual, norm)
        for part in self.parts[1:]:
            update = update + part(hidden, residual, norm)
        return update


def at_site(
    site: Site,
    parts: Sequence[nn.Module],
    shape: EncoderShape,
    options: NoOptions,
    generator: Generator,
) -> nn.Module:
    """The parts side by side."""
    del shape, options, generator
    if len(parts) == 1:
        return parts[0]
    return SummedProjection(parts) if site.is_linear else ParallelSublayer(parts)
