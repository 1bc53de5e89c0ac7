"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> Table:
    """A plain table; columns of numbers are right-aligned."""
    result = Table(title=title or None, box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        result.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        result.add_row(*(_cell(value) for value in row))
    return result


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
