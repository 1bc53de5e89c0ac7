"""BUCC: F1 of the mined pairs against the gold pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from xstilts.tasks.layouts import PAIRS
from xstilts.tasks.metrics import _pooled, percent

MAIN = "f1"
TAKES = "pairs"
LAYOUT = PAIRS
SEARCH = "pairs"
pooled = _pooled.f1

Pairs = Collection[tuple[str, ...]]


def outcomes(
    predictions: Pairs, references: Pairs, *, language: str = "", labels: Sequence[str] = ()
) -> list[list[int]]:
    """One row: [right, predicted, gold] pairs; repeated lines count once."""
    del language, labels
    predicted, gold = set(predictions), set(references)
    return [[len(predicted & gold), len(predicted), len(gold)]]


def compute(
    predictions: Pairs, references: Pairs, *, language: str = "", labels: Sequence[str] = ()
) -> dict[str, float]:
    """`f1`, `precision` and `recall`, 0..100; all 0 when nothing is right."""
    ((right, predicted, gold),) = outcomes(
        predictions, references, language=language, labels=labels
    )
    precision, recall = percent(right, predicted), percent(right, gold)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": f1, "precision": precision, "recall": recall}
