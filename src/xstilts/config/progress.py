"""How long work shows itself: one callback type, and one display for all of it."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

ProgressFn = Callable[[str, float], None]
"""Called now and then with what is being done and the share of the whole that is done, 0 to 1."""

SOON_SECONDS, LINE_SECONDS = 10.0, 60.0
"""Between two lines where stderr is no terminal: at first, and after some minutes."""


BAR, BESIDE = 20, 40
"""Columns of the bar, and of everything beside the text: spinner, bar, both times, gaps."""


def fitted(text: str, width: int) -> str:
    """The text, its middle left out where it is longer than `width`."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def silent(_text: str, _share: float) -> None:
    """A `ProgressFn` that shows nothing."""


def clock_text(seconds: float | None) -> str:
    """Seconds as `1:02:05` or `2:05`; `-:--` where they are not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class TimeLeft:
    """The time left, by how fast the later half of the work so far went.

    What goes by before the first bit is done, such as loading a model, is no part of it.

    Args:
        now: Seconds of a clock when the work begins.
        share: Of the whole that was done before.
    """

    def __init__(self, now: float, share: float) -> None:
        self._begin(now, share)

    def _begin(self, now: float, share: float) -> None:
        self._began = self._left_at = now
        self._share = share
        self._left: float | None = None
        self._marks = deque([(now, share)])

    def tell(self, now: float, share: float) -> None:
        """Note the share that is done; a smaller one than before begins another work."""
        if share < self._share or share <= self._marks[0][1]:
            self._begin(now, share)
        self._share, marks = share, self._marks
        elapsed = now - self._began
        while len(marks) > 1 and marks[1][0] <= self._began + elapsed / 2 and marks[1][1] < share:
            marks.popleft()
        then, before = marks[0]
        if share > before:
            self._left, self._left_at = (now - then) / (share - before) * (1 - share), now
        if now - marks[-1][0] >= elapsed / 100:  # so they stay few
            marks.append((now, share))

    def left(self, now: float) -> float | None:
        """Seconds that the rest takes; None before anything is known."""
        return None if self._left is None else max(0.0, self._left - (now - self._left_at))


_running: ContextVar[Progress | None] = ContextVar("progress that is shown", default=None)


def telling() -> Callable[[str], None]:
    """What tells the progress that is shown here, also from another thread, what is being done.

    Its share stays as it was; where none is shown, nothing happens.
    """
    running = _running.get()
    return running.say if running else lambda _text: None


class Progress:
    """A `ProgressFn` on stderr: a bar on a terminal, lines elsewhere, with the time left.

    The bar turns and counts also while nothing is reported. Lines come with the first report, then
    after ten seconds, and later once a minute. One within another tells its texts to that one.

    Args:
        title: What is being done.
        start: Share of the whole that was done before.
        quiet: Show nothing.
        clock: Gives seconds.
    """

    def __init__(
        self,
        title: str,
        *,
        start: float = 0.0,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.start, self.quiet, self._clock = title, start, quiet, clock
        self._bar: Any = None
        self._outer: Progress | None = None
        self._token: Token[Progress | None] | None = None
        self._share = start
        self._began = self._due = clock()
        self._time_left = TimeLeft(self._began, start)

    def __enter__(self) -> Progress:
        self._outer = _running.get()
        if self._outer is not None:
            return self
        self._token = _running.set(self)
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
            from rich.progress import Progress as Bar
            from rich.text import Text

            times = self._times

            class Times(ProgressColumn):
                def render(self, task: Task) -> Text:
                    del task
                    return Text(times(), style="progress.elapsed")

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=BAR),
                Times(),
            )
            console = Console(stderr=True)
            self._bar = Bar(*columns, console=console, transient=True, get_time=self._clock)
            self._task = self._bar.add_task(self.title, total=1.0, completed=self.start)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            _running.reset(self._token)
        if self._bar is not None:
            self._bar.stop()

    @property
    def wanted(self) -> bool:
        """Whether a report would be shown now, so that its text is worth making."""
        if self._outer is not None:
            return self._outer.wanted
        return not self.quiet and (self._bar is not None or self._clock() >= self._due)

    def __call__(self, text: str, share: float) -> None:
        """Show what is being done and the share of the whole that is done, 0 to 1."""
        if self._outer is not None:
            self._outer.say(f"{self.title}: {text}")
            return
        self._share = share
        if self.quiet:
            return
        now = self._clock()
        self._time_left.tell(now, share)
        if self._bar is not None:
            room = max(len(self.title), self._bar.console.width - BESIDE)
            shown = fitted(f"{self.title}: {text}", room)
            self._bar.update(self._task, description=shown, completed=share)
        elif now >= self._due:
            self._due = now + min(LINE_SECONDS, max(SOON_SECONDS, now - self._began))
            left = self._time_left.left(now)
            more = "" if left is None else f", {clock_text(left)} left"
            print(f"{self.title}: {text} ({share:.0%}{more})", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Show what is being done; the share that is done stays as it was."""
        self(text, self._share)

    def _times(self) -> str:
        """The time so far and the time left."""
        now = self._clock()
        return f"{clock_text(now - self._began):>7} {clock_text(self._time_left.left(now)):>7}"
