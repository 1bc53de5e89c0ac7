"""Workers as Ray actors, on a Ray of this machine's own or on a cluster (extra `ray`).

Each actor is one slot with its share of cores and GPUs. It keeps one worker process, and with it a
loaded backbone, for as long as cells are left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from xstilts.config.specs import Spec
from xstilts.errors import NetworkError
from xstilts.grid.engines import WorkerPool, require_package
from xstilts.grid.worker import DRIVER
from xstilts.train.signals import StopRequest

POLL_SECONDS = 0.5


class Options(Spec):
    """Options of the Ray engine.

    Attributes:
        address: Of a cluster, such as `auto` or `host:6379`; empty starts one here, which listens
            on the loopback interface only and ends with the grid.
        cpus: Cores of each worker.
        gpus: GPUs of each worker, which may be a share; -1 means one where there are any, and none
            with `--device cpu`.
    """

    address: str = ""
    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=-1, ge=-1)


class RayWorker:
    """One slot: starts a worker where the actor lives and gives its exit code."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], log: str) -> None:
        self.arguments, self.environment, self.log = list(arguments), environment, Path(log)

    def work(self) -> int:
        """Run a worker until nothing is left for it, or it dies."""
        driver = {DRIVER: str(os.getpid())}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  (our own interpreter and arguments)
                [sys.executable, *self.arguments],
                env={**os.environ, **self.environment, **driver},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            return process.wait()
        finally:
            process.send_signal(signal.SIGTERM)


def require() -> None:
    """Refuse the engine where Ray is not installed."""
    require_package("ray", "ray", "Ray")


def run(pool: WorkerPool, options: Options, stop: StopRequest) -> None:
    """Start actors and wait for them.

    Raises:
        NetworkError: The cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not options.address:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's switch for loopback only
    import ray

    _connect(ray, pool, options)
    try:
        _staff(ray, pool, options, stop)
    finally:
        ray.shutdown()


def _connect(ray: Any, pool: WorkerPool, options: Options) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if options.address:
        try:
            ray.init(address=options.address, **quiet)
        except ConnectionError as error:
            raise NetworkError(
                f"no Ray cluster at {options.address}", where=str(error), hint="Is it started?"
            ) from None
        return
    cpus = max(1, round(pool.workers * options.cpus))
    ray.init(
        address="local",
        include_dashboard=False,
        num_cpus=cpus,
        **quiet,
    )


def _staff(ray: Any, pool: WorkerPool, options: Options, stop: StopRequest) -> None:
    """Keep every slot working until nothing is left."""
    gpus = options.gpus
    if gpus < 0:
        gpus = float(pool.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0)
    actor = ray.remote(num_cpus=options.cpus, num_gpus=gpus, max_restarts=0)(RayWorker)

    def start(slot: int) -> tuple[Any, Any]:
        log = str(pool.logs / f"ray-{slot}.log")
        worker = actor.remote(pool.command, dict(pool.environment), log)
        return worker, worker.work.remote()

    working = {slot: start(slot) for slot in range(pool.workers)}
    stopping = False
    while working:
        pool.show_progress()
        if stop.number and not stopping:
            stopping = True
            pool.cancel()
        futures = {future: slot for slot, (_, future) in working.items()}
        ended, _ = ray.wait(list(futures), timeout=POLL_SECONDS)
        for future in ended:
            slot = futures[future]
            del working[slot]
            if not stopping and pool.wants_another(_code(ray, future)):
                working[slot] = start(slot)
                time.sleep(POLL_SECONDS)


def _code(ray: Any, future: Any) -> int:
    """The exit code of a worker; that of a killed one when its actor died."""
    try:
        return int(ray.get(future))
    except ray.exceptions.RayActorError:
        return -signal.SIGKILL
