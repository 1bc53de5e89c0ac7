"""Inputs of `predict`, read as strictly as rows of data files: by the same code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xstilts.config.load import load_task
from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.records import getter
from xstilts.data.row_formats import example_of
from xstilts.data.rows import Context, ReaderOptions, Row, is_missing
from xstilts.data.text import is_blank, parse_json, where
from xstilts.errors import DataError, near_names

_SURROGATE = re.compile("[\ud800-\udfff]")


def input_example(
    given: Mapping[str, Any], task: TaskSpec, number: int, language: str = ""
) -> Example:
    """One input as a row of the task, without a target.

    Args:
        given: Fields by name, and an `id` if it has one.
        task: What is asked.
        number: Of the input, from 0: its id where it has none.
        language: Code of the input.

    Raises:
        DataError: A field is missing, unknown, blank, or no text; the message says which.
    """
    form = ROW_FORMATS.get(task.format)
    name = str(number if is_missing(given.get("id")) else given["id"])
    # Of a choice, what stands before it may be nothing.
    idle = {"context", "question"} if "choices" in form.FIELDS else set()
    columns_there = _columns(task)
    paired = [field for field in form.OPTIONAL if field in columns_there]
    known = (*form.FIELDS, *(paired if columns_there else form.OPTIONAL))
    for field in (*form.FIELDS, *paired):
        if field not in given and field not in idle:
            pairs = f" ({task.name} is a task of pairs)" if field in paired else ""
            raise DataError(
                f"field '{field}' of row '{name}' is missing{pairs}",
                where=f"input {name}",
                hint="Fields there: " + (", ".join(sorted({*given} - {"id"})) or "none") + ".",
            )
    for field, value in given.items():
        if field not in (*known, "id"):
            raise DataError(
                f"field '{field}' of row '{name}' is none that {task.name} reads",
                where=f"input {name}",
                hint=near_names(field, known),
            )
        if any(_SURROGATE.search(text) for text in _texts(value)):
            raise DataError(
                f"'{field}' of row '{name}' holds half of a character",
                where=f"input {name}",
                hint="Give it as UTF-8.",
            )
    columns: dict[str, str | int] = {
        field: field
        for field in known
        if field in given and not (field in idle and _is_nothing(given[field]))
    }
    source = SourceSpec(columns=columns)
    context = Context(Path("input"), source, task, language, ReaderOptions(labels="optional"))
    example = example_of(Row(number + 1, getter(given), given), context, name)
    assert isinstance(example, Example)  # nothing is dropped: a blank text is an error
    return example


def _is_nothing(value: Any) -> bool:
    return is_missing(value) or (isinstance(value, str) and is_blank(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _columns(task: TaskSpec) -> set[str]:
    """The fields that any source of a task has; none of a task that is known by its head only."""
    found: set[str] = set()
    for source in task.sources:
        found.update(source.columns)
        for part in source.parts:
            found |= _columns(load_task(part.partition("/")[0]))
    return found


def input_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row number, from 1, and object of each line of JSON that is not blank.

    Raises:
        DataError: A line is not UTF-8, or no JSON object; `name` and row are given.
    """
    path = Path(name)
    for number, data in enumerate(lines, 1):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"not UTF-8: byte 0x{data[error.start]:02x}",
                where=where(path, number),
                hint="Convert the input to UTF-8.",
            ) from None
        if is_blank(text):
            continue
        value = parse_json(text, path, number)
        if not isinstance(value, dict):
            raise DataError("the line holds no JSON object", where=where(path, number))
        yield number, value
