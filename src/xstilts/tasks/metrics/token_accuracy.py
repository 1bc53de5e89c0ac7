"""Share of words whose tag is right."""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.errors import DataError
from xstilts.tasks.metrics import _pooled, percent, require_same_length

MAIN = "token_accuracy"
TAKES = "lists"
pooled = _pooled.ratio

Tags = Sequence[Sequence[str]]


def outcomes(
    predictions: Tags, references: Tags, *, language: str = "", labels: Sequence[str] = ()
) -> list[list[int]]:
    """[right words, words] of each sentence."""
    del language, labels
    require_same_length(predictions, references, "sentences")
    counts = []
    for number, (p, r) in enumerate(zip(predictions, references, strict=True), 1):
        if len(p) != len(r):
            raise DataError(f"sentence {number}: {len(p)} tags for {len(r)} words")
        counts.append([sum(a == b for a, b in zip(p, r, strict=True)), len(r)])
    return counts


def compute(
    predictions: Tags, references: Tags, *, language: str = "", labels: Sequence[str] = ()
) -> dict[str, float]:
    """`token_accuracy`, 0..100."""
    counts = outcomes(predictions, references, language=language, labels=labels)
    return {MAIN: percent(sum(c[0] for c in counts), sum(c[1] for c in counts))}
