"""Heads that several formats share.

Parameter names are those of transformers' RoBERTa classification and token classification heads.
For an export to its other classes: a multiple choice head's `dense` is `pooler.dense` and its
`out_proj` is `classifier`; a QA head's `classifier` is `qa_outputs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xstilts.backbone.pooling import Pooling, pool
from xstilts.data.features import Batch
from xstilts.tasks.formats._fields import IGNORED

INITIAL_STD = 0.02
"""Standard deviation of new weights, as in BERT and XLM-R."""


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with normal weights and zero bias, drawn from `generator` only."""
    # torch draws new weights from its global state: a layer without storage skips that.
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.normal_(0.0, INITIAL_STD, generator=generator)
        layer.bias.zero_()
    return layer


class SentenceHead(nn.Module):
    """Scores of a row, from one vector of it: dropout, dense, tanh, dropout, linear.

    It never reads the backbone's pooler. Shapes: B rows, T sub-words, D hidden size, L scores.

    Attributes:
        pooling: What the vector is, as `pool` knows it; empty until the backbone is known.
    """

    def __init__(
        self,
        hidden_size: int,
        outputs: int,
        dropout: float,
        generator: torch.Generator,
        pooling: Pooling | Literal[""] = "",
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.dense = linear(hidden_size, hidden_size, generator)
        self.out_proj = linear(hidden_size, outputs, generator)

    def forward(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        """[B, T, D] to [B, L]."""
        mask = None if batch is None else batch.attention_mask
        vector_BD = self.dropout(pool(hidden_BTD, mask, self.pooling or "cls"))
        return cast("Tensor", self.out_proj(self.dropout(torch.tanh(self.dense(vector_BD)))))


class TokenHead(nn.Module):
    """Scores of every sub-word: dropout and one linear layer, [B, T, D] to [B, T, L]."""

    def __init__(
        self, hidden_size: int, outputs: int, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = linear(hidden_size, outputs, generator)

    def forward(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        """[B, T, D] to [B, T, L]."""
        return cast("Tensor", self.classifier(self.dropout(hidden_BTD)))


class SpanHead(TokenHead):
    """Scores of every sub-word, those of "none" at the first one.

    The first sub-word of a causal model sees nothing but itself. There, what the last one says, a
    special token that sees all, is at the first place, and the other way round.

    Attributes:
        pooling: What heads over whole texts read; empty until the backbone is known.
    """

    pooling: Pooling | Literal[""] = ""

    def forward(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        """[B, T, D] to [B, T, L]."""
        scores = super().forward(hidden_BTD, batch)
        if self.pooling != "last":
            return scores
        place = torch.arange(scores.shape[1], device=scores.device)
        last = batch.attention_mask.sum(1, keepdim=True) - 1
        swapped = torch.where(place == 0, last, torch.where(place == last, 0, place))
        return scores.gather(1, swapped[..., None].expand_as(scores))


class ChoiceHead(SentenceHead):
    """Score of a row, from one vector of it: [B, T, D] to [B]."""

    def forward(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        """[B, T, D] to [B]."""
        return super().forward(hidden_BTD, batch).squeeze(-1)


class MaskedLMHead(nn.Module):
    """Dense, GELU, layer norm, then the transposed word embeddings and a bias.

    Shapes: B rows, T sub-words, D hidden size, M masked sub-words of the batch in row order, V
    vocabulary.

    Attributes:
        inverse: Applied before the embeddings, when set: the reverse of an invertible module that
            acts after them (Pfeiffer et al., 2020, arXiv:2005.00052). Not part of the head.
    """

    def __init__(
        self, hidden_size: int, embeddings: nn.Embedding, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.dense = linear(hidden_size, hidden_size, generator)
        self.layer_norm = nn.LayerNorm(hidden_size, eps=1e-5)
        self.bias = nn.Parameter(torch.zeros(embeddings.num_embeddings))
        self.inverse: Callable[[Tensor], Tensor] | None = None
        # A plain list hides the module from parameters() and state_dict(): the backbone owns it.
        self._tied = [embeddings]

    def forward(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        """[B, T, D] to [M, V]."""
        masked_MD = hidden_BTD[batch.tokens["labels"] != IGNORED]
        masked_MD = self.layer_norm(F.gelu(self.dense(masked_MD)))
        if self.inverse is not None:
            masked_MD = self.inverse(masked_MD)
        return F.linear(masked_MD, self._tied[0].weight, self.bias)


def mean_by_example(values: Tensor, example: Tensor, num_examples: int) -> Tensor:
    """Mean of the values of each example, 0 for an example without any.

    Args:
        values: [N] float32.
        example: [N], the example of each value.
        num_examples: E.

    Returns:
        [E] float32.
    """
    zeros = values.new_zeros(num_examples)
    total = zeros.index_add(0, example, values)
    count = zeros.index_add(0, example, torch.ones_like(values))
    return total / count.clamp(min=1)
