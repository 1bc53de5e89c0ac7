"""Entity F1 as conlleval counts it: a chunk is right when type and both ends are.

`I-X` after `O`, after another type or at the start of a sentence opens a chunk; `B-X` always does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xstilts.errors import DataError
from xstilts.tasks.metrics import _pooled, percent, require_same_length

MAIN = "f1"
TAKES = "lists"
pooled = _pooled.f1

Tags = Sequence[Sequence[str]]
Chunk = tuple[str, int, int]
Split = Callable[[str], tuple[str, str]]
"""A tag to its prefix letter and its type."""


def split_tag(tag: str) -> tuple[str, str]:
    """`B-PER` to (`B`, `PER`): the letter before the first dash, and all that follows it.

    A bare `O`, `B`, `I`, `E` or `S` has no type; any other bare tag, such as `PER`, is a type whose
    runs are chunks (its first letter would make `ORG` an `O`).
    """
    prefix, dash, kind = tag.partition("-")
    if len(prefix) == 1 and (dash or prefix in "OBIES."):
        return prefix, kind
    return "I", tag


def chunks(tags: Sequence[str], split: Split = split_tag) -> set[Chunk]:
    """(type, first word, last word) of every chunk of one sentence."""
    found: set[Chunk] = set()
    previous, kind, begin = "O", "", 0
    for position, tag in enumerate([*tags, "O"]):
        prefix, own = split(tag)
        if _ends(previous, kind, prefix, own):
            found.add((kind, begin, position - 1))
        if _starts(previous, kind, prefix, own):
            begin = position
        previous, kind = prefix, own
    return found


def _ends(previous: str, kind: str, prefix: str, own: str) -> bool:
    """Whether a chunk ends between the previous tag and this one (conlleval, with E and S)."""
    if previous in "ES":
        return True
    if previous in "BI" and prefix in "BSO":
        return True
    return previous not in "O." and kind != own


def _starts(previous: str, kind: str, prefix: str, own: str) -> bool:
    """Whether a chunk begins with this tag."""
    if prefix in "BS":
        return True
    if previous in "ESO" and prefix in "EI":
        return True
    return prefix not in "O." and kind != own


def counts(
    predictions: Tags, references: Tags, split: Split = split_tag
) -> list[tuple[int, int, int]]:
    """(right chunks, predicted chunks, gold chunks) of each sentence."""
    require_same_length(predictions, references, "sentences")
    result = []
    for number, (p, r) in enumerate(zip(predictions, references, strict=True), 1):
        if len(p) != len(r):
            raise DataError(f"sentence {number}: {len(p)} tags for {len(r)} words")
        predicted, gold = chunks(p, split), chunks(r, split)
        result.append((len(predicted & gold), len(predicted), len(gold)))
    return result


def outcomes(
    predictions: Tags, references: Tags, *, language: str = "", labels: Sequence[str] = ()
) -> list[list[int]]:
    """[right, predicted, gold] chunks of each sentence."""
    del language, labels
    return [list(c) for c in counts(predictions, references)]


def compute(
    predictions: Tags, references: Tags, *, language: str = "", labels: Sequence[str] = ()
) -> dict[str, float]:
    """`f1`, `precision` and `recall` over all sentences, 0..100."""
    return scores(outcomes(predictions, references, language=language, labels=labels))


def scores(counted: Sequence[Sequence[int]]) -> dict[str, float]:
    """Micro-averaged scores of per-sentence counts."""
    right, predicted, gold = (sum(c[i] for c in counted) for i in range(3))
    precision, recall = percent(right, predicted), percent(right, gold)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": f1, "precision": precision, "recall": recall}
