"""Share of predictions equal to the reference, as text (protocol of XTREME's scorer)."""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.tasks.metrics import _pooled, percent, require_same_length

MAIN = "accuracy"
pooled = _pooled.mean


def outcomes(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    language: str = "",
    labels: Sequence[str] = (),
) -> list[int]:
    """1 where prediction and reference are the same text, else 0."""
    del language, labels
    require_same_length(predictions, references)
    return [int(p == r) for p, r in zip(predictions, references, strict=True)]


def compute(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    language: str = "",
    labels: Sequence[str] = (),
) -> dict[str, float]:
    """`accuracy`, 0..100."""
    hits = outcomes(predictions, references, language=language, labels=labels)
    return {MAIN: percent(sum(hits), len(hits))}
