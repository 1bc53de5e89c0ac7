"""What brings a study to its end: workers of an engine, or this process as one of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xstilts.config.cpu import cores
from xstilts.config.progress import ProgressFn
from xstilts.config.specs import Spec
from xstilts.grid.cell import GridCell, named, with_ancestors
from xstilts.grid.context import GridContext
from xstilts.grid.engines import Engine, WorkerPool
from xstilts.grid.kinds import KINDS
from xstilts.grid.plan import drop_lost
from xstilts.grid.state import OPEN, PlannedStudy
from xstilts.grid.worker import Worker
from xstilts.train.signals import stop_requests


def compute(
    planned: PlannedStudy,
    wanted: Sequence[str],
    context: GridContext,
    note: Callable[[str], None],
) -> tuple[int, dict[str, int]]:
    """Compute cells in this process, and what they need; how many, and counts by status."""
    zoo = context.workspace.zoo.of_study(planned.name)
    context.workspace = replace(context.workspace, zoo=zoo)
    chosen = with_ancestors(planned.cells, [cell.key for cell in named(planned.cells, wanted)])
    worker = Worker(
        context.folder,
        planned.name,
        planned.cells,
        chosen,
        lambda cell: KINDS.get(cell.kind).run(cell, context),
        note=note,
    )
    statuses = worker.work()
    return worker.computed, dict(Counter(statuses.values()))


def drive(
    planned: PlannedStudy,
    context: GridContext,
    *,
    engine: Engine,
    options: Spec,
    workers: int | None = None,
    device: str = "",
    global_options: Sequence[str] = (),
    note: Callable[[str], None],
    progress: ProgressFn,
) -> None:
    """Start workers and wait until the study is finished, or its workers have ended.

    Args:
        planned: What is to be computed.
        context: Where it is computed: data, library, result store.
        engine: Where the workers run; see `chosen_engine`.
        options: Of the engine.
        workers: How many; as many as `default_workers` when None.
        device: Of the command line: what the workers run on.
        global_options: Of the command line, for the workers.
        note: Told what a person should know.
        progress: Told how far the study is.

    Raises:
        PreemptedError, InterruptedRunError: A signal came; the same command goes on.
    """
    folder = context.folder
    for cell in drop_lost(planned, context):
        note(f"{cell.short} {cell.name}: its outcome is gone or damaged, so it is computed again")
    plan = ("--plan", folder.save(planned))
    command = ("-m", "xstilts", *global_options, "grid", "worker", planned.name, *plan)
    folder.allow_study(planned.name)
    count = workers or default_workers(device)
    with stop_requests() as stop:
        pool = replace(_worker_pool(command, planned, context, count, progress), device=device)
        if not pool.is_over():
            engine.run(pool, options, stop)
    if stop.number:
        error = stop.error(0, context.command)
        error.what = f"study {planned.name} was stopped; its workers wrote checkpoints"
        raise error


def _worker_pool(
    command: tuple[str, ...],
    planned: PlannedStudy,
    context: GridContext,
    workers: int,
    progress: ProgressFn,
) -> WorkerPool:
    cells, known = planned.cells, dict[str, Any]()
    due = 0.0

    def show() -> None:
        nonlocal due
        began = time.monotonic()
        if began >= due:
            progress(*study_progress(cells, context.folder.statuses(cells, known)))
            due = began + 50 * (time.monotonic() - began)  # looking takes 2 % of the time

    def is_over() -> bool:
        left = any(s in OPEN for s in context.folder.statuses(cells, known).values())
        return not left or context.folder.study_is_cancelled(planned.name)

    logs = context.folder.study_folder(planned.name) / "workers"

    def cancel() -> None:
        context.folder.cancel_study(planned.name)

    return WorkerPool(command, workers, logs, is_over, show, cancel)


def study_progress(cells: Sequence[GridCell], statuses: Mapping[str, str]) -> tuple[str, float]:
    """How far a study is, in words and as a share; up to three running cells are named."""
    ended = sum(statuses[cell.key] not in OPEN for cell in cells)
    running = [cell.name for cell in cells if statuses[cell.key] == "running"]
    now = f", now {', '.join(running[:3])}" if running else ""
    return f"{ended} of {len(cells)} cells{now}", ended / max(1, len(cells))


def default_workers(device: str) -> int:
    """One for each GPU, or for each core where there is none or `device` is the CPU."""
    import torch

    return (torch.cuda.device_count() if device != "cpu" else 0) or cores()


def unfinished(counts: Mapping[str, int]) -> bool:
    """Whether cells are left that can still be finished."""
    return any(counts.get(name) for name in ("ready", "waiting", "running"))
