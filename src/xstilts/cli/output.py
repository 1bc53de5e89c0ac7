"""Tables and bars for the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.table import Table

Steps = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0..1."""


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


@contextmanager
def step_progress(title: str, *, quiet: bool = False) -> Iterator[Steps]:
    """A bar on a terminal, a line a minute elsewhere, on stderr; nothing appears for fast work."""
    if quiet:
        yield lambda _text, _share: None
        return
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda text, share: bar.update(task, description=f"{title}: {text}", completed=share)


def _lines(title: str) -> Steps:
    last = time.monotonic()

    def report(text: str, share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= 60:
            last = time.monotonic()
            print(f"{title}: {text} ({share:.0%})", file=sys.stderr)

    return report
