"""Labels that live in a file of their own: XTREME's label folder, Social IQa's `.lst` files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.rows import Context, ReaderOptions
from xstilts.errors import DataError


def attach_labels(
    examples: Sequence[Example], path: Path, source: SourceSpec, task: TaskSpec, language: str
) -> list[Example]:
    """The examples with the labels of a label file: one a line, one a word, or SQuAD JSON.

    Raises:
        DataError: Rows and labels differ in number, or a question has no answers.
    """
    options = ReaderOptions(labels="required", unanswerable=True)
    context = Context(path, source, task, language, options)
    targets = ROW_FORMATS.get(task.format).read_targets(examples, context)
    if len(targets) != len(examples):
        raise DataError(
            f"{len(targets)} labels for {len(examples)} rows",
            where=str(path),
            hint="The label file belongs to another version of the rows.",
        )
    return [replace(e, target=target) for e, target in zip(examples, targets, strict=True)]
