"""One JSON object a line (or a JSON list of objects); columns may be dotted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.readers import Rows
from xstilts.data.records import read_records
from xstilts.data.rows import Context, ReaderOptions, options_of
from xstilts.data.text import id_prefixes, json_lines


class Options(ReaderOptions):
    """Nothing besides what all readers take."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The rows of JSON-lines files.

    Raises:
        DataError: A line is not a JSON object, or lacks a column.
    """
    del split
    options = options_of(Options, source, task)
    for path, prefix in zip(paths, id_prefixes(paths), strict=True):
        context = Context(path, source, task, language, options)
        yield from read_records(json_lines(path), context, prefix)
