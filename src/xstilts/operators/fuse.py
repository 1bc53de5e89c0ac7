"""Fuse: token-wise attention over the parts' updates (AdapterFusion, arXiv:2005.00247).

The parts stay frozen; query, key and value matrices are learned on the target task. With one part
the output is the part's, up to the value matrix, which starts as the identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Generator, Tensor, nn

from xstilts.composition import Option
from xstilts.errors import UsageError
from xstilts.methods.bottleneck import Bottleneck, read
from xstilts.operators import PartInfo
from xstilts.sites import EncoderShape, Site

MERGES = False
LEARNS = True
OPTIONS: dict[str, Option] = {"value": True}


class FusionAttention(nn.Module):
    """Attention of each token over N updates.

    The value matrix starts as the identity plus 1e-6 everywhere, as in the adapters library.
    Shapes: B sentences, T tokens, N parts, D hidden size.
    """

    def __init__(self, size: int, dropout: float, *, value: bool, generator: Generator) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(size, size), nn.Linear(size, size)
        self.value = nn.Linear(size, size, bias=False) if value else None
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for linear in (self.query, self.key):
                linear.weight.normal_(0.0, 0.02, generator=generator)
                linear.bias.zero_()
            if self.value is not None:
                self.value.weight.fill_(1e-6).fill_diagonal_(1.0)

    def forward(self, query_BTD: Tensor, updates_BTND: Tensor) -> Tensor:
        """The mix of the updates, [B, T, D]."""
        keys = self.key(updates_BTND)
        values = updates_BTND if self.value is None else self.value(updates_BTND)
        scores_BTN = torch.einsum("btd,btnd->btn", self.query(query_BTD), keys)
        weights_BTN = torch.softmax(self.dropout(scores_BTN), dim=-1)
        return torch.einsum("btn,btnd->btd", weights_BTN, values)

    def regularisation(self) -> Tensor:
        """Squared distance of the value matrix from the identity (section 3.2 of the paper)."""
        if self.value is None:
            return torch.zeros(())
        weight = self.value.weight
        return (weight - torch.eye(len(weight), device=weight.device)).pow(2).sum()


class FusedSublayer(nn.Module):
    """Fusion at the end of a sub-layer; the query is what the last part reads.

    Shapes: all [B, T, D].
    """

    def __init__(self, own: FusionAttention, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.own, self.parts = own, nn.ModuleList(parts)
        last = parts[-1]
        self.reads = last.reads if isinstance(last, Bottleneck) else "normed"

    def forward(self, hidden: Tensor, residual: Tensor, norm: nn.Module | None) -> Tensor:
        """The mix of the parts' updates."""
        updates = torch.stack([part(hidden, residual, norm) for part in self.parts], dim=2)
        query = read(self.reads, hidden, residual, norm)
        return cast("Tensor", self.own(query, updates))


def check(parts: Sequence[PartInfo]) -> None:
    """Refuse modules without sub-layer sites.

    Raises:
        UsageError: A part acts at projections or replaces the encoder.
    """
    for part in parts:
        if part.method in ("lora", "full"):
            raise UsageError(
                f"fuse cannot take '{part.name}', a module of method {part.method}",
                hint="Fuse bottleneck modules; use average(…) for LoRA.",
            )


def at_site(
    site: Site,
    parts: Sequence[nn.Module],
    shape: EncoderShape,
    options: Mapping[str, Option],
    generator: Generator,
) -> nn.Module:
    """Attention over the parts, with new query, key and value matrices."""
    if site.is_linear:
        raise UsageError("fuse acts at sub-layers, not at projections")
    own = FusionAttention(
        shape.hidden_size, shape.dropout, value=bool(options["value"]), generator=generator
    )
    return FusedSublayer(own, parts)
