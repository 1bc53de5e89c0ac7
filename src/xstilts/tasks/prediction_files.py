"""Scores of prediction files against label files, in the layouts of XTREME's scorer."""

from __future__ import annotations

from pathlib import Path

from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.errors import DataError, NotFoundError
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.layouts import Layout
from xstilts.tasks.metrics import METRICS


def score_file(
    task: str, predictions: str | Path, labels: str | Path, language: str = ""
) -> dict[str, float]:
    """Score a file of predictions, in XTREME's layout, against a file of labels.

    Args:
        task: Name of the task, such as `xquad`.
        predictions: Lines of labels, tags with blank lines between sentences, a JSON object of
            answers by id, or lines `xx-id TAB en-id`.
        labels: The same layout; for question answering a SQuAD file.
        language: XTREME code; MLQA's rules depend on it and have no default.

    Returns:
        Score name to value, 0..100: `accuracy`; `f1`, `precision`, `recall` (and `token_accuracy`
        for POS); `exact_match`, `f1` and their `mean`; `map`.

    Raises:
        DataError: A file is broken, or the two do not fit together; file and line are named.
        NotFoundError: There is no such task or file.
        UsageError: The metric needs a language, or has no rules for this one.
    """
    spec = load_task(task)
    metric = METRICS.get(spec.metric)
    predicted, gold = layout_of(spec).read(Path(predictions), Path(labels))
    try:
        return metric.compute(predicted, gold, language=language, labels=spec.labels)
    except DataError as error:
        raise DataError(
            error.what, where=f"{predictions} against {labels}", hint=error.hint
        ) from None


def layout_of(task: TaskSpec) -> Layout:
    """Which layout a task's prediction and label files have.

    Raises:
        NotFoundError: Its predictions are not exchanged as files.
    """
    layout = METRICS.get(task.metric).LAYOUT or FORMATS.get(task.format).LAYOUT
    if layout is None:
        raise NotFoundError(f"task {task.name} has no layout for prediction files")
    return layout
