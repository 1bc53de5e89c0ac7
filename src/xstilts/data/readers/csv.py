"""Comma-separated rows with a header and quoted fields (RFC 4180)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.readers import Rows
from xstilts.data.table import TableOptions, read_table


class Options(TableOptions):
    """Defaults: header, commas, quoted fields."""

    header: bool = True
    delimiter: str = ","
    quoting: Literal["none", "csv", "undo"] = "csv"


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The rows of comma-separated files (see `read_table`)."""
    del split
    return read_table(Options, paths, source, task, language)
