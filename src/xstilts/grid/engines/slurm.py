"""Workers as tasks of a SLURM array, submitted through submitit (extra `slurm`).

SLURM sends SIGUSR1 some time before the limit and at preemption: the worker writes a checkpoint,
gives its lease back, and the task is queued again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from xstilts.config.specs import Spec
from xstilts.errors import UsageError
from xstilts.grid.engines import WorkerPool, require_package
from xstilts.train.signals import StopRequest

POLL_SECONDS = 1.0
SIGNAL = "USR1"


class Options(Spec):
    """Options of the SLURM engine.

    Attributes:
        cluster: `local` runs the tasks on this machine, to try a study before it is queued.
        minutes: Time limit of a task; it is queued again when cells are left.
        warning_seconds: How long before the limit the signal comes.
        requeues: How often a task may run out of time.
        gpus: Of each worker.
        cpus: Of each worker.
        memory_gb: Of each worker.
        partition: Empty means the cluster's default.
        account: Empty means the user's default.
        parameters: Anything else that sbatch takes, such as `{constraint: a100}`.
        detach: Return as soon as the array is queued; `xstilts grid status` tells the rest.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    minutes: int = Field(default=240, gt=0)
    warning_seconds: int = Field(default=120, gt=0)
    requeues: int = Field(default=100, ge=0)
    gpus: int = Field(default=0, ge=0)
    cpus: int = Field(default=4, gt=0)
    memory_gb: float = Field(default=16, gt=0)
    partition: str = ""
    account: str = ""
    parameters: dict[str, str] = Field(default_factory=dict)
    detach: bool = False


class Task:
    """A task of the array: runs one worker, and queues itself again when it is signalled."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self.arguments, self.environment = list(arguments), environment
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """The exit code of the worker."""
        self.process = subprocess.Popen(  # noqa: S603  (our own interpreter and arguments)
            [sys.executable, *self.arguments], env={**os.environ, **self.environment}
        )
        return self.process.wait()

    def checkpoint(self) -> Any:
        """Let the worker write its checkpoint; gives what is queued again."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.process.send_signal(getattr(signal, f"SIG{SIGNAL}"))
            self.process.wait()
        return DelayedSubmission(Task(self.arguments, self.environment))


def require() -> None:
    """Refuse the engine where submitit is not installed."""
    require_package("slurm", "submitit", "submitit")


def run(pool: WorkerPool, options: Options, stop: StopRequest) -> None:
    """Queue the array and wait for it, unless `detach`.

    A worker that dies is followed by a task of its own. A task that SLURM ended is not: it queues
    those of failed nodes again itself. When `stop` notes a signal, what has not begun leaves the
    queue.

    Raises:
        UsageError: There is no SLURM here.
    """
    executor = _executor(pool, options)
    task = Task(pool.command, dict(pool.environment))
    jobs = executor.submit_array([task] * pool.workers)
    if options.detach:
        return
    stopping = False
    while jobs:
        pool.show_progress()
        if stop.number and not stopping:
            stopping = True
            pool.cancel()
            jobs[0].get_info(mode="force")  # what is known of all of them may be old
            for job in [job for job in jobs if job.state == "PENDING"]:
                job.cancel(check=False)
                jobs.remove(job)
        time.sleep(POLL_SECONDS)
        for job in [job for job in jobs if job.done()]:
            jobs.remove(job)
            if not stopping and job.exception() is None and pool.wants_another(job.result()):
                jobs.append(executor.submit(task))


def _executor(pool: WorkerPool, options: Options) -> Any:
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = SIGNAL
    import submitit

    submitit.JobEnvironment.USR_SIG = SIGNAL  # it may have been imported before
    limit = {f"{options.cluster}_max_num_timeout": options.requeues}
    try:
        executor = submitit.AutoExecutor(pool.logs / "submitit", cluster=options.cluster, **limit)
    except RuntimeError as error:
        raise UsageError(
            f"no SLURM here: {error}",
            hint="Rehearse with --engine-option cluster=local, or use a login node.",
        ) from None
    parameters: dict[str, Any] = {
        "name": "xstilts",
        "timeout_min": options.minutes,
        "gpus_per_node": options.gpus,
        "cpus_per_task": options.cpus,
        "mem_gb": options.memory_gb,
    }
    if options.cluster == "slurm":
        named = {"partition": options.partition, "account": options.account}
        parameters |= {f"slurm_{key}": value for key, value in named.items() if value}
        parameters |= {
            "slurm_signal_delay_s": options.warning_seconds,
            "slurm_array_parallelism": pool.workers,
            "slurm_additional_parameters": {"requeue": True, **options.parameters},
        }
    executor.update_parameters(**parameters)
    return executor
