"""Heads that several formats share.

Parameter names are those of transformers' RoBERTa classification and token classification heads.
For an export to its other classes: a multiple choice head's `dense` is `pooler.dense` and its
`out_proj` is `classifier`; a QA head's `classifier` is `qa_outputs`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from xstilts.data.features import Batch

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


class FirstTokenHead(nn.Module):
    """Scores of a row, from its first token: dropout, dense, tanh, dropout, linear.

    It never reads the backbone's pooler. Shapes: B rows, T sub-words, D hidden size, L scores.
    """

    def __init__(
        self, hidden_size: int, outputs: int, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = linear(hidden_size, hidden_size, generator)
        self.out_proj = linear(hidden_size, outputs, generator)

    def forward(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        """[B, T, D] to [B, L]."""
        first_BD = self.dropout(hidden_BTD[:, 0])
        return cast("Tensor", self.out_proj(self.dropout(torch.tanh(self.dense(first_BD)))))


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
