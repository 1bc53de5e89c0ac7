"""Workers as processes of this machine; no extra dependency."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from xstilts.config.cpu import cores
from xstilts.config.specs import Spec
from xstilts.grid.engines import WorkerPool
from xstilts.grid.worker import DRIVER
from xstilts.train.signals import StopRequest

POLL_SECONDS = 0.2


class Options(Spec):
    """Options of the local engine.

    Attributes:
        threads: Of each worker; 0 divides the cores among the workers.
        gpus: Devices dealt out to the workers in turn, of those that CUDA_VISIBLE_DEVICES names
            where it is set; -1 means all that torch sees.
    """

    threads: int = Field(default=0, ge=0)
    gpus: int = Field(default=-1, ge=-1)


def run(pool: WorkerPool, options: Options, stop: StopRequest) -> None:
    """Start worker processes and wait for them."""
    pool.logs.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **pool.environment, DRIVER: str(os.getpid())}
    threads = options.threads or max(1, cores() // pool.workers)
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    devices = _devices(options.gpus)
    running: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for slot in range(pool.workers):
            running[slot] = _start(pool, environment, slot, devices)
        while running and not stop.number:
            pool.show_progress()
            time.sleep(POLL_SECONDS)
            for slot, process in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[slot]
                if pool.wants_another(code):
                    running[slot] = _start(pool, environment, slot, devices)
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            process.wait()


def _start(
    pool: WorkerPool, environment: dict[str, str], slot: int, devices: Sequence[str]
) -> subprocess.Popen[bytes]:
    """A worker in a session of its own, so that Ctrl-C reaches the engine only."""
    own = dict(environment)
    if devices:
        own["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    with log_file(pool.logs, slot).open("ab") as log:
        return subprocess.Popen(  # noqa: S603  (our own interpreter and arguments)
            pool.arguments,
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def log_file(folder: Path, slot: int) -> Path:
    """Where a worker writes."""
    return folder / f"worker-{slot}.log"


def _devices(gpus: int) -> list[str]:
    """The devices for the workers, by the numbers or UUIDs that CUDA_VISIBLE_DEVICES takes."""
    import torch

    count = torch.cuda.device_count() if gpus < 0 else gpus
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = map(str, range(count)) if visible is None else visible.split(",")
    return [name.strip() for name in named][:count]
