"""Labels that live in a file of their own: XTREME's label folder, Social IQa's `.lst` files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.row_formats import answers_of
from xstilts.data.rows import Context, ReaderOptions, label_name
from xstilts.data.text import is_blank, read_json, read_lines, where
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
    if task.format == "extractive_qa":
        return _answers(examples, context)
    targets: list[Any]
    if task.format == "tagging":
        targets = _tags(context)
    else:
        lines = enumerate(read_lines(path), 1)
        targets = [label_name(line, context, row) for row, line in lines]
    if len(targets) != len(examples):
        raise DataError(
            f"{len(targets)} labels for {len(examples)} rows",
            where=str(path),
            hint="The label file belongs to another version of the rows.",
        )
    for row, (example, target) in enumerate(zip(examples, targets, strict=True), 1):
        if task.format == "tagging" and len(target) != len(example.fields["words"]):
            words = len(example.fields["words"])
            raise DataError(
                f"{len(target)} labels for the {words} words of sentence {row} ({example.place})",
                where=str(path),
            )
    return [replace(e, target=target) for e, target in zip(examples, targets, strict=True)]


def _tags(context: Context) -> list[tuple[str, ...]]:
    sentences: list[tuple[str, ...]] = []
    current: list[str] = []
    for row, line in enumerate(read_lines(context.path), 1):
        if not is_blank(line):
            current.append(label_name(line, context, row))
        elif current:
            sentences.append(tuple(current))
            current = []
    return [*sentences, tuple(current)] if current else sentences


def _answers(examples: Sequence[Example], context: Context) -> list[Example]:
    data = read_json(context.path)
    found: dict[str, Any] = {}
    try:
        for article in data["data"] if isinstance(data, dict) else data:
            for paragraph in article["paragraphs"]:
                found.update((q["id"], q["answers"]) for q in paragraph["qas"])
    except (KeyError, TypeError):
        raise DataError("not SQuAD JSON", where=str(context.path)) from None
    result = []
    for row, example in enumerate(examples, 1):
        if example.id not in found:
            raise DataError(f"no answers for question {example.id}", where=where(context.path, row))
        target = answers_of(found[example.id], example.fields["context"], context, row)
        result.append(replace(example, target=target))
    return result
