"""Mean average precision of the first k (LAReQA, Mewsli-X; XTREME-R, arXiv:2104.07412).

A query's average precision is the sum of the precisions at its hits, divided by the smaller of k
and the number of its golds; with a single gold that is its reciprocal rank.
"""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.errors import DataError
from xstilts.tasks.layouts import RANKINGS
from xstilts.tasks.metrics import _pooled, percent, require_same_length

MAIN = "map"
TAKES = "lists"
LAYOUT = RANKINGS
SEARCH = "ranking"
pooled = _pooled.mean

Ids = Sequence[Sequence[str]]


def outcomes(
    predictions: Ids,
    references: Ids,
    *,
    language: str = "",
    labels: Sequence[str] = (),
    k: int = 20,
) -> list[float]:
    """Average precision of each query, 0..1.

    Raises:
        DataError: There are not as many rankings as queries, or a query has no gold.
    """
    del language, labels
    require_same_length(predictions, references, "rankings")
    return [
        _average(ranked[:k], golds, k)
        for ranked, golds in zip(predictions, references, strict=True)
    ]


def _average(ranked: Sequence[str], golds: Sequence[str], k: int) -> float:
    wanted = set(golds)
    if not wanted:
        raise DataError("a query has nothing to find")
    hits, total = 0, 0.0
    for rank, found in enumerate(ranked, 1):
        if found in wanted and found not in ranked[: rank - 1]:
            hits += 1
            total += hits / rank
    return total / min(len(wanted), k)


def compute(
    predictions: Ids,
    references: Ids,
    *,
    language: str = "",
    labels: Sequence[str] = (),
    k: int = 20,
) -> dict[str, float]:
    """`map`, 0..100."""
    values = outcomes(predictions, references, language=language, labels=labels, k=k)
    return {MAIN: percent(sum(values), len(values))}
