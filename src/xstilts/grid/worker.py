"""A worker: takes leases on cells that are ready, computes them, and marks what became of them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TextIO

from xstilts.errors import DiskError, InterruptedRunError, PreemptedError
from xstilts.grid.cell import GridCell
from xstilts.grid.lease import BEAT_SECONDS, Lease, Owner, Watch, claim
from xstilts.grid.retries import failure_record, wait_seconds
from xstilts.grid.state import OPEN, GridFolder, Status
from xstilts.train.signals import StopRequest, stop_requests

POLL_SECONDS = 0.5
DRIVER = "XSTILTS_GRID_DRIVER"
"""Environment variable with the process id of the engine that started this worker, where the
worker is to stop when that is gone."""

Run = Callable[[GridCell], Mapping[str, Any]]
"""Computes a cell; gives its outcome as plain JSON values."""


class _Stop(StopRequest):
    """Remembers a signal; raises it only while a cell is computed, so that no lease stays held."""

    raises = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, and raise it where that is safe."""
        super().receive(number, frame)
        if self.raises:
            self.raises = False  # a second signal must not cut off the ending
            self.check()

    def check(self) -> None:
        """Raise what was noted."""
        if self.number:
            kind = InterruptedRunError if self.number == signal.SIGINT else PreemptedError
            name = signal.Signals(self.number).name
            raise kind(f"stopped by {name}", hint="Run the same command again to go on.")

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Raise signals until the block ends.

        Training catches them itself while it runs, so that it can write a checkpoint first.
        """
        self.raises = True
        try:
            self.check()
            yield
        finally:
            self.raises = False


@dataclass
class Worker:
    """Computes cells of a study until nothing is left that it could do.

    Attributes:
        study: Name of the study, whose cancellation stops it.
        cells: The whole study, in an order in which it can run.
        chosen: Keys of the cells that it may compute; with a cell, its ancestors.
        run: Computes one.
        note: Told what happens, a line each.
        warm: The backbone that is loaded; its cells are taken first.
        sleep: Waits for some seconds.
        clock: The time in seconds, from any start.
    """

    folder: GridFolder
    study: str
    cells: Sequence[GridCell]
    chosen: frozenset[str]
    run: Run
    note: Callable[[str], None] = lambda _line: None
    owner: Owner = field(default_factory=Owner.of_this_process)
    watch: Watch = field(default_factory=Watch)
    beat_seconds: float = BEAT_SECONDS
    warm: str = ""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    computed: int = 0
    _done: dict[str, Status] = field(default_factory=dict)
    _failed_at: dict[tuple[str, int], float] = field(default_factory=dict)
    _stop: _Stop = field(default_factory=_Stop)

    def work(self) -> dict[str, Status]:
        """Work until every chosen cell is done, failed, blocked or cancelled; gives their statuses.

        Raises:
            PreemptedError: SIGTERM, SIGUSR1, the study was cancelled, or the engine is gone; what
                had begun has a checkpoint where it can have one.
            InterruptedRunError: Ctrl-C; likewise.
        """
        with stop_requests(self._stop):
            while True:
                statuses = self.folder.statuses(self.cells, self._done)
                own = {key: status for key, status in statuses.items() if key in self.chosen}
                if not any(status in OPEN for status in own.values()):
                    return own
                self._stop_when_told()
                if not self._take_one(statuses):
                    self.sleep(POLL_SECONDS)  # others compute what is missing, or a cell rests

    def _stop_when_told(self) -> None:
        self._stop.check()
        if self.folder.study_is_cancelled(self.study):
            raise PreemptedError(
                f"study {self.study} was cancelled",
                hint="Go on with the xstilts grid run that started it.",
            )
        if driver_is_gone():
            raise PreemptedError("the engine that started this worker is gone")

    def _take_one(self, statuses: Mapping[str, Status]) -> bool:
        """Compute the first cell that can be had; cells of the loaded backbone come first."""
        free = [
            cell
            for cell in self.cells
            if cell.key in self.chosen and statuses[cell.key] in ("ready", "running")
        ]
        for cell in sorted(free, key=lambda cell: cell.backbone != self.warm):
            if self._rests(cell.key):
                continue
            lease = claim(self.folder.folder(cell.key), self.owner, self.watch)
            if lease is None:
                continue
            self._attempt(cell, lease)
            return True
        return False

    def _rests(self, key: str) -> bool:
        """Whether a cell waits for what failed it to pass, from when this worker saw it failed."""
        failures = self.folder.failures(key)
        wait = wait_seconds(failures)
        if not wait:
            return False
        since = self._failed_at.setdefault((key, failures[-1]["attempt"]), self.clock())
        return self.clock() - since < wait

    def _attempt(self, cell: GridCell, lease: Lease) -> None:
        """Compute a cell under a lease, which is given back whatever happens."""
        state = "preempted"
        try:
            state = self._compute(cell, lease)
        finally:
            lease.release(state)

    def _compute(self, cell: GridCell, lease: Lease) -> str:
        """Compute a cell, unless that is not needed any more; gives what became of it."""
        self.folder.note_lost(cell.key, lease)
        fresh = self.folder.statuses([cell])[cell.key]
        if fresh in ("done", "failed", "cancelled"):
            return fresh
        began = time.monotonic()
        self.note(f"{cell.short} {cell.name}: attempt {lease.number}")
        stopped = _Stopped()
        try:
            with (
                self._log(cell, lease),
                self._beating(cell, lease, stopped),
                self._stop.raising(),
            ):
                outcome = self.run(cell)
            self.computed += self.folder.finish(cell, lease, outcome, time.monotonic() - began)
        except (PreemptedError, InterruptedRunError, KeyboardInterrupt):
            if not stopped.cancelled:
                raise
            self.note(f"{cell.short} {cell.name}: cancelled")
            return "cancelled"
        except Exception as error:  # noqa: BLE001  (a cell that fails must not stop the others)
            self._failed(cell, lease, error)
            return "failed"
        finally:
            if stopped.cancelled:  # the signal was for this cell only
                self._stop.number = 0
        self.warm = cell.backbone
        self.note(f"{cell.short} {cell.name}: done in {time.monotonic() - began:.0f} s")
        return "done"

    def _failed(self, cell: GridCell, lease: Lease, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        with self._log(cell, lease) as file:
            file.write(trace)
        error = DiskError.of(error) or error
        self.folder.fail(cell.key, lease.number, failure_record(error, trace))
        self.note(f"{cell.short} {cell.name}: {type(error).__name__}: {error}")

    @contextlib.contextmanager
    def _log(self, cell: GridCell, lease: Lease) -> Iterator[TextIO]:
        """Let what is printed go to the log of an attempt."""
        path = self.folder.folder(cell.key) / f"log-{lease.number:06d}.txt"
        with (
            path.open("a", encoding="utf-8", buffering=1) as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            yield file

    @contextlib.contextmanager
    def _beating(self, cell: GridCell, lease: Lease, stopped: _Stopped) -> Iterator[None]:
        """Renew the lease from a thread; stop the cell when it is cancelled or nobody waits."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.beat_seconds):
                with contextlib.suppress(OSError):  # a disk that is full for a moment
                    lease.renew()
                if self.folder.is_cancelled(cell.key):
                    stopped.cancelled = True
                elif not (self.folder.study_is_cancelled(self.study) or driver_is_gone()):
                    continue
                os.kill(os.getpid(), signal.SIGTERM)
                return

        thread = threading.Thread(target=beat, name="xstilts-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@dataclass
class _Stopped:
    cancelled: bool = False


def driver_is_gone() -> bool:
    """Whether the process that `DRIVER` names is not the parent any more."""
    driver = os.environ.get(DRIVER, "")
    return bool(driver) and os.getppid() != int(driver)
