"""XTREME's POS score: chunk F1 over bare UPOS tags, by the rule of seqeval up to 0.0.13.

The units are maximal runs of equal tags, except that tags beginning with S (SCONJ, SYM) are one
chunk a word. Later seqeval versions drop the first letter of a bare tag and score differently.
Token accuracy stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.tasks.metrics import _pooled, chunk_f1, token_accuracy

MAIN = "f1"
TAKES = "lists"
pooled = _pooled.f1

Tags = Sequence[Sequence[str]]


def whole_tag(tag: str) -> tuple[str, str]:
    """`NOUN` to (`N`, `NOUN`): the first letter, and the whole tag as the type."""
    return tag[:1], tag


def outcomes(
    predictions: Tags, references: Tags, *, language: str = "", labels: Sequence[str] = ()
) -> list[list[int]]:
    """[right, predicted, gold] runs of each sentence."""
    del language, labels
    return [list(c) for c in chunk_f1.counts(predictions, references, whole_tag)]


def compute(
    predictions: Tags, references: Tags, *, language: str = "", labels: Sequence[str] = ()
) -> dict[str, float]:
    """`f1`, `precision`, `recall` over runs and `token_accuracy`, 0..100."""
    runs = chunk_f1.scores(outcomes(predictions, references))
    return runs | token_accuracy.compute(predictions, references, language=language, labels=labels)
