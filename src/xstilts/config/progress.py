"""How long work shows itself: one callback type, and one display for all of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ProgressFn = Callable[[str, float], None]
"""Called now and then with what is being done and the share of the whole that is done, 0 to 1."""

LINE_SECONDS = 60.0
"""Between two lines where stderr is no terminal."""


def silent(_text: str, _share: float) -> None:
    """A `ProgressFn` that shows nothing."""


@contextmanager
def progress_bar(title: str, *, quiet: bool = False) -> Iterator[ProgressFn]:
    """A bar on a terminal, a line a minute elsewhere, on stderr; nothing appears for fast work."""
    if quiet:
        yield silent
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


def _lines(title: str) -> ProgressFn:
    last = time.monotonic()

    def report(text: str, share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            print(f"{title}: {text} ({share:.0%})", file=sys.stderr)

    return report
