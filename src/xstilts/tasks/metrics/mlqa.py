"""MLQA's exact match and F1, with its rules for each of seven languages."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping, Sequence

from xstilts.errors import UsageError
from xstilts.tasks.metrics import _pooled, squad

MAIN = "mean"
TAKES = "answers"
pooled = _pooled.mean_of_two

_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "ar": "ال",  # the letters alef-lam anywhere: the reference pattern's other branch never matches
    "hi": "",
    "zh": "",
}
_PRIVATE = re.compile(r"q[a-t][a-z]")
"""ISO 639's codes for private use: made-up languages, without articles, in any script."""


def words(text: str, language: str) -> list[str]:
    """The normalised tokens of an answer.

    Raises:
        UsageError: MLQA has no rules for the language, or none was given.
    """
    private = _PRIVATE.fullmatch(language) is not None
    if language not in _ARTICLES and not private:
        what = f"has no rules for '{language}'" if language else "needs the answers' language"
        known = ", ".join(sorted(_ARTICLES))
        raise UsageError(f"MLQA's metric {what}", hint=f"Known: {known}.")
    text = "".join(c for c in text.lower() if not _is_punctuation(c))
    if not private and _ARTICLES[language]:
        text = re.sub(_ARTICLES[language], " ", text)
    return _mixed(text) if language == "zh" or private else text.split()


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _mixed(text: str) -> list[str]:
    """Every character of U+4E00..U+9FA5 a token, the text between them split at white space."""
    tokens: list[str] = []
    for piece in re.split(r"([\u4e00-\u9fa5])", text):
        tokens += piece.split()
    return tokens


def outcomes(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    language: str = "",
    labels: Sequence[str] = (),
) -> list[list[float]]:
    """[exact match, F1] of each question, 0..1."""
    return squad.per_question(predictions, references, lambda text: words(text, language))


def compute(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    language: str = "",
    labels: Sequence[str] = (),
) -> dict[str, float]:
    """`exact_match`, `f1` and their `mean`, 0..100."""
    return squad.summary(outcomes(predictions, references, language=language, labels=labels))
