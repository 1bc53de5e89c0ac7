"""Fuse: token-wise attention over the parts' updates (AdapterFusion, arXiv:2005.00247).

The parts stay frozen; what attends is learned on the target task. At sub-layers this is the paper's
fusion, equal to the adapters library's. At projections, where LoRA acts, it is the same idea: the
query is what the projection reads, the keys are the parts' updates, and there is no value matrix.
With one part the output is that part's, at sub-layers up to the value matrix, which starts as the
identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from xstilts.backbone.sites import EncoderShape, Site
from xstilts.config.specs import Spec
from xstilts.errors import UsageError
from xstilts.modules.methods import METHODS
from xstilts.modules.nodes import Reads, TwoLayers, read, two_layers_of
from xstilts.modules.operators import PartInfo

LEARNS = True
ADAPTERS_BLOCK = "Fuse"


class Options(Spec):
    """Options of a fusion.

    Attributes:
        value: Whether there is a value matrix at sub-layers.
        regularisation: Weight of its squared distance from the identity in the loss (section 3.2 of
            the paper).
        size: Of queries and keys at projections.
    """

    value: bool = True
    regularisation: float = Field(default=0.01, ge=0)
    size: int = Field(default=64, gt=0)


class FusionAttention(nn.Module):
    """Attention of each token over N updates.

    The value matrix starts as the identity plus 1e-6 everywhere, as in the adapters library.
    Shapes: B sentences, T tokens, N parts, D hidden size.
    """

    def __init__(
        self,
        size: int,
        dropout: float,
        *,
        value: bool,
        generator: Generator,
        regularisation: float = 0.0,
    ) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(size, size), nn.Linear(size, size)
        self.value = nn.Linear(size, size, bias=False) if value else None
        self.dropout, self.coefficient = nn.Dropout(dropout), regularisation
        with torch.no_grad():
            for linear in (self.query, self.key):
                linear.weight.normal_(0.0, 0.02, generator=generator)
                linear.bias.zero_()
            if self.value is not None:
                self.value.weight.fill_(1e-6).fill_diagonal_(1.0)

    def weights(self, scores_BTN: Tensor) -> Tensor:
        """Shares of the parts, [B, T, N]."""
        return torch.softmax(self.dropout(scores_BTN), dim=-1)

    def valued(self, mix_BTD: Tensor) -> Tensor:
        """The value matrix on a mix of updates; it is linear, so it may come last."""
        return mix_BTD if self.value is None else cast("Tensor", self.value(mix_BTD))

    def forward(self, query_BTD: Tensor, updates_BTND: Tensor) -> Tensor:
        """The mix of the updates, [B, T, D]."""
        scores_BTN = torch.einsum("btd,btnd->btn", self.query(query_BTD), self.key(updates_BTND))
        mix = torch.einsum("btn,btnd->btd", self.weights(scores_BTN), updates_BTND)
        return self.valued(mix)

    def regularisation(self) -> Tensor:
        """Squared distance of the value matrix from the identity (section 3.2 of the paper)."""
        if self.value is None:
            return torch.zeros(())
        weight = self.value.weight
        return (weight - torch.eye(len(weight), device=weight.device)).pow(2).sum()

    def penalty(self) -> Tensor:
        """What it adds to the loss while its value matrix trains: a scalar."""
        if self.value is None or not self.coefficient or not self.value.weight.requires_grad:
            return torch.zeros((), device=self.query.weight.device)
        return self.coefficient * self.regularisation()


class FusedSublayer(nn.Module):
    """Fusion at the end of a sub-layer; the query is what the last part reads.

    Shapes: all [B, T, D].
    """

    def __init__(self, own: FusionAttention, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.own, self.parts = own, nn.ModuleList(parts)
        self.query_reads: Reads = getattr(parts[-1], "reads", "normed")

    def forward(self, hidden: Tensor, residual: Tensor, norm: nn.Module | None) -> Tensor:
        """The mix of the parts' updates."""
        query = read(self.query_reads, hidden, residual, norm)
        if alike := self._alike():
            return self._batched(query, alike)
        updates = torch.stack([part(hidden, residual, norm) for part in self.parts], dim=2)
        return cast("Tensor", self.own(query, updates))

    def _alike(self) -> list[TwoLayers]:
        """The parts' layers where all are alike and read the same; else nothing."""
        parts = [two_layers_of(part) for part in self.parts]
        kinds = {(part.reads, type(part.activation)) for part in parts if part}
        return [part for part in parts if part] if all(parts) and len(kinds) == 1 else []

    def _batched(self, x_BTD: Tensor, parts: Sequence[TwoLayers]) -> Tensor:
        """All parts in three matrix products over their stacked bottlenecks.

        A key is linear in its update, and an update in its bottleneck, so scores and the mix are
        computed there: no update of a single part is ever made. M is the bottlenecks' sizes summed.
        """
        down_MD = torch.cat([part.down.weight for part in parts])
        down_M = torch.cat([part.down.bias for part in parts])
        up_MD = torch.cat([part.up.weight.t() * part.scaling for part in parts])
        up_ND = torch.stack([part.up.bias * part.scaling for part in parts])
        sizes = torch.tensor([len(part.down.bias) for part in parts], device=x_BTD.device)
        owner_M = torch.repeat_interleave(torch.arange(len(parts), device=x_BTD.device), sizes)
        member_MN = nn.functional.one_hot(owner_M, len(parts)).to(x_BTD.dtype)
        inner_BTM = parts[0].activation(nn.functional.linear(x_BTD, down_MD, down_M))
        query_BTD = self.own.query(x_BTD)
        seen_BTD = query_BTD @ self.own.key.weight
        scores_BTN = (inner_BTM * (seen_BTD @ up_MD.t())) @ member_MN
        scores_BTN = scores_BTN + seen_BTD @ up_ND.t() + (query_BTD @ self.own.key.bias)[..., None]
        weights_BTN = self.own.weights(scores_BTN)
        mix_BTD = (inner_BTM * (weights_BTN @ member_MN.t())) @ up_MD + weights_BTN @ up_ND
        return self.own.valued(mix_BTD)


class ProjectionAttention(nn.Module):
    """Attention over the updates of a projection; queries and keys have `size` dimensions."""

    def __init__(
        self, sizes: tuple[int, int], size: int, dropout: float, generator: Generator
    ) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(sizes[0], size), nn.Linear(sizes[1], size, bias=False)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for linear in (self.query, self.key):
                linear.weight.normal_(0.0, 0.02, generator=generator)
            self.query.bias.zero_()

    def forward(self, x: Tensor, updates: Sequence[Tensor]) -> Tensor:
        """The mix of N updates [B, T, out] for an input [B, T, in]."""
        seen = self.query(x) @ self.key.weight
        scores = torch.stack([(seen * update).sum(-1) for update in updates], dim=-1)
        weights = torch.softmax(self.dropout(scores), dim=-1)
        mix = updates[0] * weights[..., :1]
        for number, update in enumerate(updates[1:], 1):
            mix = mix + update * weights[..., number : number + 1]
        return mix


class FusedProjection(nn.Module):
    """Fusion of the updates of one projection. Shapes: x [B, T, in], result [B, T, out]."""

    def __init__(self, own: ProjectionAttention, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.own, self.parts = own, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """The mix of the parts' updates."""
        return cast("Tensor", self.own(x, [part(x) for part in self.parts]))


def check(parts: Sequence[PartInfo]) -> None:
    """Refuse modules that replace the encoder.

    Raises:
        UsageError: A part is a full fine-tune.
    """
    for part in parts:
        if part.method and METHODS.get(part.method).REPLACES_ENCODER:
            raise UsageError(
                f"fuse cannot take '{part.name}', which replaces the encoder",
                hint="Fuse adapters and LoRA modules; merge encoders with average(…).",
            )


def at_site(
    site: Site,
    parts: Sequence[nn.Module],
    shape: EncoderShape,
    options: Options,
    generator: Generator,
) -> nn.Module:
    """Attention over the parts, with new matrices."""
    if site.is_linear:
        sizes = shape.linear_sizes(site.name)
        attention = ProjectionAttention(sizes, options.size, shape.dropout, generator)
        return FusedProjection(attention, parts)
    own = FusionAttention(
        shape.hidden_size,
        shape.dropout,
        value=options.value,
        generator=generator,
        regularisation=options.regularisation,
    )
    return FusedSublayer(own, parts)
