"""The SLURM engine on a queue of the test's own."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from xstilts.errors import FindingsError, PreemptedError
from xstilts.grid.engines import WorkerPool, slurm
from xstilts.train.signals import StopRequest


class Job:
    """A task of the queue that runs for some looks, then gives an exit code or has failed.

    What is known of its state may be old.
    """

    def __init__(self, outcome, looks=1, state="RUNNING", known=""):
        self.outcome, self.looks, self.now, self.state = outcome, looks, state, known or state
        self.looked = 0

    def done(self):
        self.looked += 1
        assert self.looked < 10, "it is waited for without end"
        return self.now == "CANCELLED" or (self.now == "RUNNING" and self.looked >= self.looks)

    def get_info(self, mode):
        for job in self.beside:
            job.state = job.now

    def cancel(self, check=True):
        self.now = "CANCELLED"

    def exception(self):
        return self.outcome if isinstance(self.outcome, Exception) else None

    def result(self):
        return self.outcome


@pytest.fixture
def queue(monkeypatch, tmp_path):
    """Runs the engine on some jobs; gives those that it submitted after them."""

    def run(jobs, *follow, stop=None):
        follow, more = list(follow), []
        for job in jobs:
            job.beside = jobs

        def submit(_task):
            more.append(follow.pop(0))
            return more[-1]

        executor = SimpleNamespace(submit_array=lambda tasks: list(jobs), submit=submit)
        monkeypatch.setattr(slurm, "_executor", lambda _pool, _options: executor)
        monkeypatch.setattr(slurm, "POLL_SECONDS", 0)
        pool = WorkerPool(("-c", ""), len(jobs), tmp_path, lambda: False)
        slurm.run(pool, slurm.Options(), stop or StopRequest())
        return more

    return run


def test_a_worker_that_dies_is_followed_by_another(queue):
    first = [Job(-signal.SIGKILL), Job(0), Job(FindingsError.exit_code), Job(RuntimeError("OOM"))]
    follow = [Job(PreemptedError.exit_code), Job(0)]
    assert queue(first, *follow) == follow


def test_a_signal_takes_what_has_not_begun_out_of_the_queue(queue):
    stop = StopRequest()
    stop.number = signal.SIGINT
    running = Job(PreemptedError.exit_code, looks=3)
    begun = Job(PreemptedError.exit_code, known="PENDING")
    pending = Job(0, state="PENDING")
    assert queue([running, begun, pending], stop=stop) == []
    assert [job.now for job in (running, begun, pending)] == ["RUNNING", "RUNNING", "CANCELLED"]
    assert (running.looked, begun.looked) == (3, 1)
