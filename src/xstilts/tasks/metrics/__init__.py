"""Metrics: pure functions from predictions and references to scores 0..100.

A metric is one file of this package; its name is the one in task YAMLs:

    MAIN: str                       the score that selects checkpoints and stands in tables
    compute(predictions, references, *, language="en") -> dict[str, float]
        Score name to a value 0..100. Raises `DataError` when the two do not fit together.
    outcomes(predictions, references, *, language="en") -> list
        What each example contributes, for paired statistics: a number, or a list of numbers.
    pooled(sums, n) -> scores
        The main score from sums of `n` outcomes; sums are arrays [..., columns of an outcome].

Predictions and references are lists of label names (classification, choices, Tatoeba), lists of
lists of tags (tagging), or, for question answering, mappings from id to an answer and from id to
the gold answers. BUCC takes collections of (source id, target id).
"""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path

from xstilts.errors import DataError
from xstilts.registry import Registry

METRICS = Registry("xstilts.metrics", "metric")


def require_same_length(predictions: Sized, references: Sized, what: str = "lines") -> None:
    """Refuse predictions that are not as many as the references.

    Raises:
        DataError: The numbers differ.
    """
    if len(predictions) != len(references):
        raise DataError(f"{len(predictions)} predicted {what} for {len(references)} references")


def percent(part: float, whole: float) -> float:
    """100 * part / whole, and 0 for an empty whole."""
    return 100.0 * part / whole if whole else 0.0


def score_file(
    task: str, predictions: str | Path, labels: str | Path, language: str = "en"
) -> dict[str, float]:
    """Score a file of predictions, in XTREME's layout, against a file of labels.

    Args:
        task: Name of the task, such as `xquad`.
        predictions: Lines of labels, tags with blank lines between sentences, a JSON object of
            answers by id, or lines `xx-id TAB en-id`.
        labels: The same layout; for question answering a SQuAD file.
        language: XTREME code; MLQA's rules depend on it.

    Returns:
        Score name to value, 0..100: `accuracy`; `f1`, `precision`, `recall` (and `token_accuracy`
        for POS); `exact_match`, `f1` and their `mean`; `map`.

    Raises:
        DataError: A file is broken, or the two do not fit together; file and line are named.
        NotFoundError: There is no such task or file.
        UsageError: The metric has no rules for the language.
    """
    from xstilts.metrics._files import score_file as score

    return score(task, predictions, labels, language)
