"""What is found in data, and how its rows are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.pairs import load_pair
from xstilts.data.sources import load_rows

UNSURE = "unsure"
"""Kind of a finding that is no fault: there is too little text to tell."""
MIN_ROWS = 20
"""Fewer rows say nothing about labels or language."""


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong in a task's rows.

    Attributes:
        kind: `broken`, `count`, `labels`, `language`, `unsure`, `overlap`, `duplicate`, `checksum`
            or `missing`.
        message: What, in one sentence.
        where: File and row of the first case, where there is one.
    """

    task: str
    split: str
    language: str
    kind: str
    message: str
    where: str = ""


RowsBySplit = Mapping[tuple[str, str], Sequence[Example]]


def rows_of(task: TaskSpec, split: str, language: str, root: Path | None) -> Sequence[Example]:
    """The rows of a split, of a bitext those of its foreign side."""
    if ROW_FORMATS.get(task.format).TWO_SIDED:
        return load_pair(task, language, root, split).source
    return load_rows(task, split, language, root).examples


def text_of(row: Example) -> str:
    """All texts of a row in one line, without regard to case and white space."""
    parts: list[str] = []
    for name in sorted(row.fields):
        value = row.fields[name]
        parts.append(" ".join(value) if isinstance(value, tuple) else str(value))
    return "\t".join(" ".join(part.split()).casefold() for part in parts)
