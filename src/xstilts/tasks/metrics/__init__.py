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
from typing import Any

from xstilts.config.registry import Registry
from xstilts.errors import DataError

METRICS = Registry[Any]("xstilts.tasks.metrics", "metric", group="xstilts.metrics")


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
