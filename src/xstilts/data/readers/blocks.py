"""Rows of one line or of a fixed number of lines, without columns: `0` is a row's first line.

The column `file` is the name of the file, for data whose files are its labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import Field, field_validator

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.readers import Rows
from xstilts.data.row_formats import example_of
from xstilts.data.rows import Context, Missing, ReaderOptions, Row, options_of
from xstilts.data.text import id_prefixes, read_lines, where
from xstilts.errors import DataError


class Options(ReaderOptions):
    """Options of rows made of whole lines.

    Attributes:
        lines: Lines of a row.
        pattern: A regular expression that every whole line matches, whose only group holds the
            text; empty takes the line as it is.
    """

    lines: int = Field(default=1, gt=0)
    pattern: str = ""

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, value: str) -> str:
        try:
            groups = re.compile(value).groups if value else 1
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"{groups} groups in '{value}' where one is the text")
        return value


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The rows of the files, in order; a place is a row's first line.

    Raises:
        DataError: A file ends within a row, or a line does not match the pattern.
    """
    del split
    options = options_of(Options, source, task)
    for path, prefix in zip(paths, id_prefixes(paths), strict=True):
        context = Context(path, source, task, language, options)
        lines = list(_texts(path, options.pattern))
        if len(lines) % options.lines:
            raise DataError(
                f"{len(lines)} lines are no whole number of rows of {options.lines}",
                where=str(path),
                hint="The file may be cut off; download it again.",
            )
        for number, start in enumerate(range(0, len(lines), options.lines), 1):
            get = _getter(path, lines[start : start + options.lines])
            yield example_of(Row(start + 1, get, ("file",)), context, f"{prefix}{number}")


def _texts(path: Path, pattern: str) -> Iterator[str]:
    for number, line in enumerate(read_lines(path), 1):
        found = re.fullmatch(pattern, line) if pattern else None
        if pattern and not found:
            raise DataError("the line does not match the pattern", where=where(path, number))
        yield found[1] if found else line


def _getter(path: Path, lines: Sequence[str]) -> Callable[[str], str]:
    def get(column: str) -> str:
        if column == "file":
            return path.name
        if column.isdecimal() and int(column) < len(lines):
            return lines[int(column)]
        raise Missing(column)

    return get
