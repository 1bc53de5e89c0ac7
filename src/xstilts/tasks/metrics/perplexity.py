"""Perplexity of masked sub-words: e to the mean negative log-likelihood. Lower is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xstilts.errors import NotFiniteError
from xstilts.tasks.metrics import _pooled

MAIN = "perplexity"
TAKES = "numbers"
LOWER_IS_BETTER = True
NO_PERCENT = ("perplexity", "loss")
pooled = _pooled.perplexity

Losses = Sequence[tuple[float, int]]
"""Of each row, the summed loss in nats and the number of sub-words predicted."""


def outcomes(
    predictions: Losses, references: Any = (), *, language: str = "", labels: Sequence[str] = ()
) -> list[list[float]]:
    """[summed loss, sub-words] of each row."""
    del references, language, labels
    return [[float(loss), float(count)] for loss, count in predictions]


def compute(
    predictions: Losses, references: Any = (), *, language: str = "", labels: Sequence[str] = ()
) -> dict[str, float]:
    """`perplexity`, at least 1, and `loss`, nats a sub-word.

    Raises:
        NotFiniteError: The perplexity is larger than any number.
    """
    rows = outcomes(predictions, references, language=language, labels=labels)
    loss = sum(row[0] for row in rows) / max(sum(row[1] for row in rows), 1.0)
    try:
        return {MAIN: math.exp(loss), "loss": loss}
    except OverflowError:
        raise NotFiniteError(
            f"a loss of {loss:.4g} nats a sub-word has no finite perplexity",
            hint="The head's training diverged: try a lower train.lr.",
        ) from None
