"""Tables for the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

import typer
from rich.cells import cell_len

WIDTH = 200
"""Columns of tables that do not go to a terminal, where `COLUMNS` does not say."""
WHOLE = 48
"""Characters up to which a cell is never broken; longer ones are folded, at this width or more."""
GAP = 2
PROSE = ("title", "what it is", "advice")
"""Columns of sentences: they are folded where the terminal is too narrow, names are not."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a plain table on stdout; columns of numbers are right-aligned.

    Names stay whole: where the terminal is too narrow for them the table is wider than it.
    """
    texts = [list(columns), *([_cell(value) for value in row] for row in rows)]
    right = [
        bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        for number in range(len(columns))
    ]
    widths = _widths(columns, texts)
    heading, *lines = ("\n".join(_lines(row, widths, right)) for row in texts)
    if title:
        above = title.center(sum(widths) + GAP * (len(widths) - 1)).rstrip()
        typer.secho(above, italic=True)
    typer.secho(heading, bold=True)
    typer.echo("".join(f"{line}\n" for line in lines), nl=False)


def _widths(columns: Sequence[str], texts: Sequence[Sequence[str]]) -> list[int]:
    """The widths of the columns: as wide as their cells where the terminal has room for that."""
    widths, least = [], []
    for number, column in enumerate(columns):
        cells = [row[number] for row in texts]
        widths.append(max(cell_len(line) for cell in cells for line in cell.split("\n")))
        words = max(cell_len(word) for cell in cells for word in cell.split(" "))
        least.append(words if column in PROSE else min(widths[-1], WHOLE))
    room = shutil.get_terminal_size((WIDTH, 24)).columns - GAP * (len(widths) - 1)
    while sum(widths) > max(room, sum(least)):
        spare = [(width, -n) for n, width in enumerate(widths) if width > least[n]]
        widths[-max(spare)[1]] -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """The lines of a row, cells that are too wide folded."""
    folded = [
        [
            part
            for line in cell.split("\n")
            for part in wrap(line, width, break_on_hyphens=False) or [""]
        ]
        if cell_len(cell) > width or "\n" in cell
        else [cell]
        for cell, width in zip(row, widths, strict=True)
    ]
    return [
        (" " * GAP)
        .join(
            " " * (width - cell_len(cell)) + cell
            if numeric
            else cell + " " * (width - cell_len(cell))
            for cell, width, numeric in zip(cells, widths, right, strict=True)
        )
        .rstrip()
        for cells in zip_longest(*folded, fillvalue="")
    ]


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
