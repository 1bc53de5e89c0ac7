"""What a person sees of a running training: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from xstilts.data.batching import Padding


class Progress:
    """Loss, examples and sub-words a second, share of padding, and the time left, on stderr.

    Args:
        title: What is being trained.
        total: Optimiser steps.
        start: Steps done before, in an earlier process.
        quiet: Show nothing.
    """

    def __init__(self, title: str, total: int, *, start: int = 0, quiet: bool = False) -> None:
        self.title, self.total, self.start, self.quiet = title, total, start, quiet
        self._bar: Any = None
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.start)
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
    def wants_loss(self) -> bool:
        """Whether the next report would be shown, so that the loss is worth fetching."""
        if self.quiet:
            return False
        return self._bar is not None or time.monotonic() - self._said >= 60

    def report(self, step: int, loss: float, examples: int, batches: Padding) -> None:
        """Show the state after `step`; `examples` and `batches` are since the run began."""
        seconds = max(1e-9, time.monotonic() - self._began)
        text = (
            f"{self.title}  loss {loss:.4f}  {examples / seconds:.0f} examples/s  "
            f"{batches.tokens / seconds:.0f} tokens/s  {batches.share:.1%} padding"
        )
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=step)
            return
        left = seconds / max(1, step - self.start) * (self.total - step)
        print(f"{text}  step {step}/{self.total}  {left:.0f} s left", file=sys.stderr)
        self._said = time.monotonic()
