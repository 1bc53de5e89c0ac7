"""Ctrl-C and SIGTERM end a run after the current step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from xstilts.errors import InterruptedRunError, PreemptedError


class StopRequest:
    """Remembers the first signal; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.number = 0

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal."""
        if self.number == signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def error(self, step: int, resume: str) -> InterruptedRunError | PreemptedError:
        """What to raise once the checkpoint is written; `resume` is a command or empty."""
        kind = InterruptedRunError if self.number == signal.SIGINT else PreemptedError
        again = f"Resume: {resume}" if resume else "The same command goes on from there."
        return kind(f"stopped after step {step}, checkpoint written", hint=again)


@contextmanager
def stop_requests(request: StopRequest | None = None) -> Iterator[StopRequest]:
    """Let `request` note SIGINT, SIGTERM and SIGUSR1 until the block ends (in the main thread)."""
    request = request or StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, request.receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
