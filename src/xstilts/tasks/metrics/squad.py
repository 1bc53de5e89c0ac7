"""SQuAD's exact match and F1, with its English rules for every language (XQuAD, TyDiQA)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from xstilts.errors import DataError
from xstilts.tasks.metrics import _pooled, percent

MAIN = "mean"
TAKES = "answers"
pooled = _pooled.mean_of_two

Normalise = Callable[[str], list[str]]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = set(string.punctuation)


def words(text: str) -> list[str]:
    """Lower-case, without ASCII punctuation and articles, split at white space."""
    text = "".join(c for c in text.lower() if c not in _PUNCTUATION)
    return _ARTICLES.sub(" ", text).split()


def best(prediction: str, golds: Sequence[str], normalise: Normalise) -> tuple[float, float]:
    """(exact match, F1) of one answer, each the best over the golds, 0..1."""
    predicted = normalise(prediction)
    pairs = [_one(predicted, normalise(gold)) for gold in golds]
    return max(em for em, _ in pairs), max(f1 for _, f1 in pairs)


def _one(predicted: list[str], gold: list[str]) -> tuple[float, float]:
    same = sum((Counter(predicted) & Counter(gold)).values())
    if same == 0:
        return float(predicted == gold), 0.0
    precision, recall = same / len(predicted), same / len(gold)
    return float(predicted == gold), 2 * precision * recall / (precision + recall)


def per_question(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    normalise: Normalise,
) -> list[list[float]]:
    """[exact match, F1] of each reference question, 0..1; a missing answer counts 0.

    Raises:
        DataError: A question has no gold answer.
    """
    result = []
    for key, golds in references.items():
        if not golds:
            raise DataError(f"question '{key}' has no gold answer")
        if key in predictions:
            result.append(list(best(predictions[key], golds, normalise)))
        else:
            result.append([0.0, 0.0])
    return result


def summary(pairs: Sequence[Sequence[float]]) -> dict[str, float]:
    """`exact_match`, `f1` and their `mean`, 0..100."""
    em = percent(sum(p[0] for p in pairs), len(pairs))
    f1 = percent(sum(p[1] for p in pairs), len(pairs))
    return {"exact_match": em, "f1": f1, "mean": (em + f1) / 2}


def outcomes(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    language: str = "",
    labels: Sequence[str] = (),
) -> list[list[float]]:
    """[exact match, F1] of each question, 0..1."""
    del language, labels
    return per_question(predictions, references, words)


def compute(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    language: str = "",
    labels: Sequence[str] = (),
) -> dict[str, float]:
    """`exact_match`, `f1` and their `mean`, 0..100."""
    return summary(outcomes(predictions, references, language=language, labels=labels))
