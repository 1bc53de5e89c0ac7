"""Stack: one module after the other, the first nearest to the backbone (MAD-X, arXiv:2005.00052).

At the end of a sub-layer each part sees what the parts before it made; at a projection, where all
parts see the same input, their updates are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from torch import Generator, Tensor, nn

from xstilts.backbone.sites import EncoderShape, Site
from xstilts.modules.nodes import inverse_of
from xstilts.modules.operators import NoOptions
from xstilts.modules.operators.parallel import SummedParts

ORDERED = HEAD_OF_LAST = True
ADAPTERS_BLOCK = "Stack"


class StackedSublayer(nn.Module):
    """Parts in sequence at the end of a sub-layer. Shapes: all [B, T, D]."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, hidden: Tensor, residual: Tensor, norm: nn.Module | None) -> Tensor:
        """The sum of the parts' updates."""
        update: Tensor = self.parts[0](hidden, residual, norm)
        for part in self.parts[1:]:
            update = update + part(hidden + update, residual, norm)
        return update

    @property
    def inverse(self) -> Callable[[Tensor], Tensor]:
        """Back through the parts, the last first.

        Raises:
            UsageError: A part cannot be inverted.
        """
        parts = [inverse_of(part) for part in reversed(self.parts)]
        return lambda hidden: reduce(lambda state, back: back(state), parts, hidden)


def at_site(
    site: Site,
    parts: Sequence[nn.Module],
    shape: EncoderShape,
    options: NoOptions,
    generator: Generator,
) -> nn.Module:
    """The parts one after the other."""
    del shape, options, generator
    if len(parts) == 1:
        return parts[0]
    return SummedParts(parts) if site.is_linear else StackedSublayer(parts)
