"""How long work shows itself: one callback type, and one display for all of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

ProgressFn = Callable[[str, float], None]
"""Called now and then with what is being done and the share of the whole that is done, 0 to 1."""

LINE_SECONDS = 60.0
"""Between two lines where stderr is no terminal."""


BAR, BESIDE = 20, 40
"""Columns of the bar, and of everything beside the text: the bar, both times, gaps."""


def fitted(text: str, width: int) -> str:
    """The text, its middle left out where it is longer than `width`."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def silent(_text: str, _share: float) -> None:
    """A `ProgressFn` that shows nothing."""


class Progress:
    """A `ProgressFn` on stderr: a bar on a terminal, a line a minute elsewhere, with the time left.

    Nothing appears for fast work where stderr is no terminal.

    Args:
        title: What is being done.
        start: Share of the whole that was done before.
        quiet: Show nothing.
    """

    def __init__(self, title: str, *, start: float = 0.0, quiet: bool = False) -> None:
        self.title, self.start, self.quiet = title, start, quiet
        self._bar: Any = None
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=BAR),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.title, total=1.0, completed=self.start)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def wanted(self) -> bool:
        """Whether a report would be shown now, so that its text is worth making."""
        if self.quiet:
            return False
        return self._bar is not None or time.monotonic() - self._shown >= LINE_SECONDS

    def __call__(self, text: str, share: float) -> None:
        """Show what is being done and the share of the whole that is done, 0 to 1."""
        if not self.wanted:
            return
        if self._bar is not None:
            room = max(len(self.title), self._bar.console.width - BESIDE)
            shown = fitted(f"{self.title}: {text}", room)
            self._bar.update(self._task, description=shown, completed=share)
            return
        self._shown = time.monotonic()
        done = share - self.start
        left = f", {(self._shown - self._began) / done * (1 - share):.0f} s left" if done else ""
        print(f"{self.title}: {text} ({share:.0%}{left})", file=sys.stderr)
