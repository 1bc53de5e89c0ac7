"""What an evaluation is asked and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xstilts.data.batching import Padding
from xstilts.data.sources import first_rows
from xstilts.evaluate.store import ResultCell, Score


@dataclass(frozen=True)
class Request:
    """An expression to be evaluated on a task, in some or all of its languages.

    Attributes:
        expression: As written.
        label: What stands for it in tables; the expression when empty.
        task: Name of the task.
        languages: Empty means every language of the task, or of the suite, that has data.
        split: Empty means the task's own; `test[:100]` its first rows, `[:100]` those of the own.
        layer: Block for retrieval; -1 means the task's, or else the backbone's default.
        pooling: `mean`, `cls` or `last`, for retrieval; empty means the task's.
        options: Replace options of the task, such as `margin` or `decode`.
        alignment: Measure a bitext's alignment instead of the task's own score.
        suite: Says which languages its tasks have; empty means the task says.
        head: Module whose head predicts, for an expression without one, such as a merge.
    """

    expression: str
    task: str
    label: str = ""
    languages: tuple[str, ...] = ()
    split: str = ""
    layer: int = -1
    pooling: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    alignment: bool = False
    suite: str = ""
    head: str = ""


def task_requests(
    expressions: Iterable[str],
    task: str,
    *,
    label: str = "",
    layers: Sequence[int] = (),
    langs: Sequence[str] = (),
    split: str = "",
    limit: int = 0,
    options: Mapping[str, Any] | None = None,
    head: str = "",
    **values: Any,
) -> list[Request]:
    """One request an expression and block.

    Args:
        expressions: As written.
        task: Name of the task.
        label: See `Request`.
        layers: Blocks pooled for retrieval; the task's when empty.
        langs: Languages; every one that has data when empty.
        split: See `Request`.
        limit: Only the first rows of each language, which the split in every score then says.
        options: See `Request`.
        head: See `Request`; labels name it.
        values: Its other fields, such as `pooling` and `suite`.
    """
    return [
        Request(
            expression,
            task,
            (label or expression) + (f" (head of {head})" if head else ""),
            tuple(langs),
            first_rows(split, limit),
            layer=block,
            options=options or {},
            head=head,
            **values,
        )
        for expression in expressions
        for block in layers or (-1,)
    ]


def missing_lines(missing: Mapping[str, str]) -> list[str]:
    """A line with the languages of a task that were left out for a reason, and what it is.

    Args:
        missing: `task/language` to why, see `EvaluationOutcome`.
    """
    codes_of: dict[tuple[str, str], list[str]] = {}
    for name, why in missing.items():
        task, _, language = name.rpartition("/")
        codes_of.setdefault((task, why.partition("; ")[0]), []).append(language)
    lines = []
    for (task, kind), codes in codes_of.items():
        _, _, detail = missing[f"{task}/{codes[0]}"].partition("; ")
        lines.append(f"{task}: {kind} in {', '.join(codes)}; for {codes[0]} {detail}")
    return lines


@dataclass
class EvaluationOutcome:
    """The cells of an evaluation, how many were computed, and what was left out.

    Attributes:
        cells: Every cell asked for, found or computed.
        computed: How many of them were computed now.
        missing: Languages that were left out, as `task/language`, to why; see `jobs_of`.
        padding: Of the batches that were run now.
        differences: Scores in a lower precision, and by how much they differ from float32's, for
            cells that are there in both.
        remarks: What to say of how the backbone read rows; see `xstilts.tasks.encoding.remarks`.
    """

    cells: list[ResultCell] = field(default_factory=list)
    computed: int = 0
    missing: Mapping[str, str] = field(default_factory=dict)
    padding: Padding = field(default_factory=Padding)
    differences: list[tuple[Score, float]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def scores(self) -> list[Score]:
        """The score rows of all cells, 0..100."""
        return [score for cell in self.cells for score in cell.scores]


@dataclass(frozen=True)
class Computed:
    """Predictions and scores of one cell, before they are stored.

    Attributes:
        text: Content of the predictions file, in the official format.
        suffix: Of that file.
        scores: Score name to value.
        outcomes: What each example contributes.
        n: Examples, questions or gold pairs scored.
        num_cut: Examples of which a text lost its end.
    """

    text: str
    suffix: str
    scores: Mapping[str, float]
    outcomes: list[Any]
    n: int
    num_cut: int = 0
