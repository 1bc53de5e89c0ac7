"""What `xstilts grid run` does: drive an engine, or be one of its workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.grid.cell import GridCell
    from xstilts.grid.context import GridContext
    from xstilts.grid.engines import WorkerPool
    from xstilts.grid.state import PlannedStudy

DRAWS = 10_000
"""Of the bootstrap behind a study's verdict."""


def named(cells: tuple[GridCell, ...], wanted: list[str]) -> list[GridCell]:
    """The cells whose hashes begin so; `all` means every one.

    Raises:
        NotFoundError: None begins so.
        UsageError: Several do.
    """
    from xstilts.errors import NotFoundError, UsageError

    if wanted == ["all"]:
        return list(cells)
    result = []
    for start in wanted:
        found = [cell for cell in cells if cell.key.startswith(start)]
        if not found:
            raise NotFoundError(
                f"no cell of this study begins with '{start}'",
                hint="List them: xstilts grid status STUDY --cells.",
            )
        if len(found) > 1:
            raise UsageError(f"{len(found)} cells begin with '{start}'", hint="Give more digits.")
        result += found
    return result


def grid_context_of(state: State) -> GridContext:
    """Where cells are planned and computed, as the global options say."""
    import shlex
    import sys

    from xstilts.cli.training import device, workspace_of
    from xstilts.grid.context import GridContext

    def load(name: str) -> Any:
        from xstilts.backbone.backbone import Backbone

        return Backbone.load(state.encoder(name), offline=state.offline).to(device())

    command = shlex.join(["xstilts", *sys.argv[1:]])
    return GridContext(workspace_of(state), state.results, load, state.training_defaults, command)


def compute(state: State, study: str, wanted: list[str]) -> None:
    """Compute cells in this process, and what they need.

    Raises:
        FindingsError: One of them failed.
        PreemptedError: A signal came; the same command goes on.
    """
    from xstilts.grid.cell import with_ancestors
    from xstilts.grid.kinds import KINDS
    from xstilts.grid.worker import Worker

    grid_context = grid_context_of(state)
    planned = grid_context.folder.load(study)
    chosen = with_ancestors(planned.cells, [cell.key for cell in named(planned.cells, wanted)])
    worker = Worker(
        grid_context.folder,
        planned.name,
        planned.cells,
        chosen,
        lambda cell: KINDS.get(cell.kind).run(cell, grid_context),
        note=state.note,
    )
    statuses = worker.work()
    counts: dict[str, int] = dict(Counter(statuses.values()))
    record = {"study": study, "computed": worker.computed, "counts": counts}
    state.emit(record, lambda: print(f"{worker.computed} cells computed, {counts}"))
    _require_done(study, counts)


def drive(
    state: State,
    planned: PlannedStudy,
    grid_context: GridContext,
    engine: str,
    workers: int,
    overrides: list[str],
) -> None:
    """Start workers and wait until the study is finished.

    Raises:
        NotFoundError: There is no such engine.
        FindingsError: The rest is finished, but some cells failed.
        PreemptedError, InterruptedRunError: A signal came; the same command goes on.
    """
    from xstilts.cli.grid_answer import make_answer, print_answer
    from xstilts.cli.grid_output import print_status, status_record
    from xstilts.config.layers import Layer, parse_overrides, resolve
    from xstilts.config.progress import progress_bar
    from xstilts.grid.engines import ENGINES
    from xstilts.grid.plan import drop_lost
    from xstilts.train.signals import stop_requests

    made = ENGINES.get(engine)
    options = resolve(made.Options, [Layer("--set", parse_overrides(overrides))]).value
    folder = grid_context.folder
    for cell in drop_lost(planned, grid_context):
        state.note(f"{cell.short} {cell.name}: its outcome is gone, so it is computed again")
    folder.save(planned)
    folder.allow_study(planned.name)
    with (
        progress_bar(f"study {planned.name}", quiet=state.quiet) as progress,
        stop_requests() as stop,
    ):
        pool = _worker_pool(state, planned, grid_context, workers, progress)
        if not pool.is_over():
            made.run(pool, options, stop)
    if stop.number:
        error = stop.error(0, f"xstilts grid run {planned.name}")
        error.what = f"study {planned.name} was stopped; its workers wrote checkpoints"
        raise error
    more: dict[str, Any] = {}
    if planned.spec.get("answer") and not _unfinished(status_record(folder, planned)["counts"]):
        more = {"answer": make_answer(state, folder, planned, None, DRAWS)}
    record = print_status(state, folder, planned, more=more)
    if more and not state.json:
        print_answer(more["answer"])
    _require_done(planned.name, record["counts"])


def _worker_pool(
    state: State, planned: PlannedStudy, grid_context: GridContext, workers: int, progress: Any
) -> WorkerPool:
    from xstilts.grid.engines import WorkerPool
    from xstilts.grid.state import OPEN

    cells, known = planned.cells, dict[str, Any]()

    def show() -> None:
        progress(*study_progress(cells, grid_context.folder.statuses(cells, known)))

    def is_over() -> bool:
        left = any(s in OPEN for s in grid_context.folder.statuses(cells, known).values())
        return not left or grid_context.folder.study_is_cancelled(planned.name)

    logs = grid_context.folder.study_folder(planned.name) / "workers"
    command = ("-m", "xstilts", *_options(state), "grid", "run", planned.name, "--cell", "all")

    def cancel() -> None:
        grid_context.folder.cancel_study(planned.name)

    return WorkerPool(command, workers or _workers(), logs, is_over, show, cancel)


def study_progress(cells: Sequence[GridCell], statuses: Mapping[str, str]) -> tuple[str, float]:
    """How far a study is, in words and as a share; up to three running cells are named."""
    from xstilts.grid.state import OPEN

    ended = sum(statuses[cell.key] not in OPEN for cell in cells)
    running = [cell.name for cell in cells if statuses[cell.key] == "running"]
    now = f", now {', '.join(running[:3])}" if running else ""
    return f"{ended} of {len(cells)} cells{now}", ended / max(1, len(cells))


def _options(state: State) -> list[str]:
    """The global options of this command, for its workers."""
    given = [
        *("--world", state.world or None),
        *("--data", state.data_option),
        *("--zoo", state.zoo),
        *("--results", state.results),
    ]
    pairs = zip(given[::2], given[1::2], strict=True)
    result = [str(text) for name, value in pairs if value is not None for text in (name, value)]
    return [*result, *(["--offline"] if state.offline else [])]


def _workers() -> int:
    """One for each GPU, or for each core."""
    import torch

    from xstilts.grid.engines.local import cores

    return torch.cuda.device_count() or cores()


def _unfinished(counts: dict[str, int]) -> bool:
    return any(counts.get(name) for name in ("ready", "waiting", "running"))


def _require_done(study: str, counts: dict[str, int]) -> None:
    from xstilts.errors import FindingsError, PreemptedError

    bad = {name: counts[name] for name in ("failed", "blocked", "cancelled") if counts.get(name)}
    if bad:
        shown = ", ".join(f"{count} cells {name}" for name, count in bad.items())
        raise FindingsError(
            f"study {study}: {shown}; the rest is finished",
            hint=f"See xstilts grid logs {study}, then xstilts grid retry {study}.",
        )
    if _unfinished(counts):
        raise PreemptedError(
            f"study {study} is not finished: its workers were stopped, or are queued",
            hint=f"Go on: xstilts grid run {study}",
        )
