"""The processes that train together, as accelerate and torch.distributed set them up."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from xstilts.train.sharding import shard

TRACKERS = ("tensorboard", "trackio", "wandb", "mlflow")

T = TypeVar("T")


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end_with_launcher() -> None:
    """Leave when the launcher is gone: it starts workers in sessions that outlive its kill."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="launcher watch").start()


class Processes:
    """One process, or all those that `torchrun` or `accelerate launch` started.

    Args:
        precision: `fp32` or `bf16`.
        device: Where the model is; of several processes each has one of its own.
        trackers: Names of `TRACKERS` that are told the history.
        folder: For trackers that write files.
        run: Name of the run and its settings, for trackers.
    """

    def __init__(
        self,
        precision: str,
        device: torch.device,
        *,
        trackers: Sequence[str] = (),
        folder: Path | None = None,
        run: tuple[str, Mapping[str, Any]] = ("xstilts", {}),
    ) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState

        self._bf16, self._device = precision == "bf16", device
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        on_cpu = device.type == "cpu"
        # a process has one device there, that of its first training, and refuses another
        first = PartialState(cpu=on_cpu)
        self._accelerator: Any = Accelerator(
            cpu=on_cpu and first.device.type == "cpu",
            mixed_precision="no",  # of a whole process, and its trainings may differ in it
            log_with=list(trackers) or None,
            project_dir=str(folder) if folder else None,
            # A step runs one head of many, and a module may have no part in it.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        if self.count > 1:
            atexit.register(_leave)  # threads that are still there would abort the interpreter
            _end_with_launcher()
        self.tracked = bool(trackers)
        if trackers:
            plain = {k: v for k, v in run[1].items() if isinstance(v, str | int | float | bool)}
            self._accelerator.init_trackers(run[0], config=plain)

    @property
    def rank(self) -> int:
        """Number of this process, 0-based."""
        return int(self._accelerator.process_index)

    @property
    def count(self) -> int:
        """Number of processes that train together."""
        return int(self._accelerator.num_processes)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self._accelerator.is_main_process)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self._device if self.count == 1 else self._accelerator.device

    def wrap(self, model: nn.Module, shards: Sequence[nn.Module] | None = None) -> nn.Module:
        """The model with gradients averaged over processes.

        Args:
            model: On this process's device.
            shards: Parts of it that are gathered one at a time, to spread its parameters over the
                processes, in place; None for a whole copy in each.
        """
        if self.count == 1:
            return model
        if shards is not None:
            return shard(model, shards, self.device.type, self.count)
        return cast("nn.Module", self._accelerator.prepare_model(model))

    def autocast(self) -> AbstractContextManager[Any]:
        """The forward pass in the run's precision."""
        if self._bf16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Keep gradients to this process until the block ends; those of shards never are."""
        if self.count == 1 or not hasattr(model, "no_sync"):
            return nullcontext()
        return cast("AbstractContextManager[Any]", self._accelerator.no_sync(model))

    @contextmanager
    def alone_in(self, folder: Path, tell: Callable[[], None]) -> Iterator[None]:
        """Hold a run's folder until the block ends, against other commands that train the same.

        Args:
            folder: Of the run.
            tell: Called once when another command holds it; this one waits for its end.
        """
        lock = FileLock(folder / ".lock")
        if self.first:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=1)
            except Timeout:
                tell()
                lock.acquire()
        try:
            self.wait()
            yield
        finally:
            lock.release()

    def wait(self) -> None:
        """Go on when every process has come here."""
        self._accelerator.wait_for_everyone()

    def sum(self, value: Tensor) -> Tensor:
        """The sum of the processes' tensors, the same in each."""
        if self.count == 1:
            return value
        return cast("Tensor", self._accelerator.reduce(value, "sum"))

    def agreed(self, number: int) -> int:
        """The largest of the processes' numbers."""
        if self.count == 1:
            return number
        gathered = self._accelerator.gather(torch.tensor([number], device=self.device))
        return int(gathered.max())

    def same(self, value: T) -> T:
        """The first process's value, in every process."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return cast("T", broadcast_object_list([value])[0])

    def track(self, record: Mapping[str, Any], step: int) -> None:
        """Report the numbers of a record to the trackers, such as TensorBoard."""
        if self.tracked:
            values = {k: v for k, v in record.items() if isinstance(v, int | float)}
            self._accelerator.log(values, step=step)

    def close(self) -> None:
        """End the trackers. The process group ends with the process: a next phase may need it."""
        if self.tracked:
            self._accelerator.end_training()
