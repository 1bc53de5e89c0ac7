"""Tab-separated rows, without quoting unless asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.readers import Rows
from xstilts.data.table import TableOptions, read_table


class Options(TableOptions):
    """Defaults: no header, tabs, quotes are characters."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The rows of tab-separated files (see `read_table`)."""
    del split
    return read_table(Options, paths, source, task, language)
