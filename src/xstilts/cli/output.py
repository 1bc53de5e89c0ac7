"""Tables for the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from rich.table import Table

WHOLE = 48
"""Characters up to which a cell is never broken; longer ones are folded, at this width or more."""
GAP = 2
PROSE = ("title", "what it is", "advice")
"""Columns of sentences: they are folded where the terminal is too narrow, names are not."""


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> Table:
    """A plain table; columns of numbers are right-aligned.

    Names stay whole: where the terminal is too narrow for them the table is wider than it.
    """
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(len(text) for text in (column, *(row[number] for row in texts)))
        for number, column in enumerate(columns)
    ]
    whole = [
        max(len(word) for row in (columns, *texts) for word in row[number].split(" "))
        if column in PROSE
        else min(width, WHOLE)
        for number, (column, width) in enumerate(zip(columns, widths, strict=True))
    ]
    least = sum(whole) + GAP * max(0, len(widths) - 1)
    wide = least > shutil.get_terminal_size((least, 24)).columns
    result = Table(
        title=title or None,
        box=None,
        header_style="bold",
        pad_edge=False,
        width=least if wide else None,
    )
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        result.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            min_width=whole[number],
        )
    for row in texts:
        result.add_row(*row)
    return result


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
