"""Metrics: pure functions from predictions and references to scores 0..100.

A metric is one file of this package, or an entry point of the group `xstilts.metrics`; its name is
the one in task YAMLs. `Metric` states what it has.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, Literal, Protocol

from xstilts.config.registry import Registry
from xstilts.errors import DataError
from xstilts.tasks.layouts import Layout


class Metric(Protocol):
    """What a metric has; a constant with a value may be left out.

    Attributes:
        MAIN: The score that selects checkpoints and stands in tables.
        TAKES: What predictions and references are: `texts` (labels, choices), `lists` of texts
            (tags, ranked ids), `answers` (mappings from question id to an answer, and to its gold
            answers), `pairs` (collections of source and target id), or `numbers` (of each row a
            loss and a count; no references).
        LAYOUT: Of its files, where that is not the layout of the task's format.
        SEARCH: How a retrieval task makes its predictions for it: the `nearest` sentence of each,
            mined `pairs`, a `ranking` for each (`compute` and `outcomes` then also take `k`, the
            ranks that count); empty for other tasks.
        LOWER_IS_BETTER: Whether a lower main score is better.
        NO_PERCENT: Its scores that are not 0..100.
    """

    MAIN: str
    TAKES: Literal["texts", "lists", "answers", "pairs", "numbers"] = "texts"
    LAYOUT: Layout | None = None
    SEARCH: Literal["", "nearest", "pairs", "ranking"] = ""
    LOWER_IS_BETTER: bool = False
    NO_PERCENT: tuple[str, ...] = ()

    def compute(
        self,
        predictions: Any,
        references: Any,
        *,
        language: str = "",
        labels: Sequence[str] = (),
    ) -> dict[str, float]:
        """Score name to a value 0..100.

        Args:
            predictions: As `TAKES` says.
            references: As many, in the same order or with the same ids.
            language: XTREME code, for rules that depend on it.
            labels: The task's label names; empty when the format has none.

        Raises:
            DataError: The two do not fit together.
            UsageError: There are no rules for the language.
        """
        ...

    def outcomes(
        self,
        predictions: Any,
        references: Any,
        *,
        language: str = "",
        labels: Sequence[str] = (),
    ) -> list[Any]:
        """What each example contributes, for paired statistics: a number, or a list of numbers."""
        ...

    def pooled(self, sums: Any, n: int) -> Any:
        """The main score from the sums [..., columns of an outcome] of `n` outcomes: [...]."""
        ...


METRICS = Registry[Metric]("xstilts.tasks.metrics", "metric", Metric, "xstilts.metrics")


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
