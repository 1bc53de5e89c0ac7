"""SQuAD 2.0: exact match and F1 where some questions have no answer (an empty text).

Unlike SQuAD 1.1's rule, an empty prediction for a question without an answer has F1 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xstilts.tasks.layouts import ANSWERS_OR_NONE
from xstilts.tasks.metrics import _pooled, percent, squad

MAIN = "f1"
TAKES = "answers"
LAYOUT = ANSWERS_OR_NONE
pooled = _pooled.mean_of_second

Answers = Mapping[str, str]
Golds = Mapping[str, Sequence[str]]


def outcomes(
    predictions: Answers, references: Golds, *, language: str = "", labels: Sequence[str] = ()
) -> list[list[float]]:
    """[exact match, F1] of each reference question, 0..1; a missing prediction counts 0."""
    del language, labels
    return [_one(predictions.get(key), golds) for key, golds in references.items()]


def _one(prediction: str | None, golds: Sequence[str]) -> list[float]:
    if prediction is None:
        return [0.0, 0.0]
    wanted = [gold for gold in golds if squad.words(gold)]
    if not wanted or not squad.words(prediction):
        same = float(not wanted and not squad.words(prediction))
        return [same, same]
    return list(squad.best(prediction, wanted, squad.words))


def compute(
    predictions: Answers, references: Golds, *, language: str = "", labels: Sequence[str] = ()
) -> dict[str, float]:
    """`exact_match` and `f1`, and of each kind of question there is `answered_f1`, `unanswered`."""
    pairs = outcomes(predictions, references, language=language, labels=labels)
    answered = [any(squad.words(gold) for gold in golds) for golds in references.values()]
    found = [pair[1] for pair, there in zip(pairs, answered, strict=True) if there]
    none = [pair[1] for pair, there in zip(pairs, answered, strict=True) if not there]
    scores = {
        "exact_match": percent(sum(pair[0] for pair in pairs), len(pairs)),
        "f1": percent(sum(pair[1] for pair in pairs), len(pairs)),
    }
    for name, kind in (("answered_f1", found), ("unanswered", none)):
        if kind:
            scores[name] = percent(sum(kind), len(kind))
    return scores
