"""What commands that train share: where they read and write, and running one training."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.train.phases import Phase
    from xstilts.zoo import Entry
    from xstilts.zoo.workspace import Workspace


@dataclass(frozen=True)
class TrainingJob:
    """A training as the command line states it."""

    task: str
    flags: dict[str, Any]
    overrides: list[str]
    config: Path | None
    below: str
    init: str
    name: str
    force: bool


def flags_of(method: str, backbone: str, seed: int, limit: int) -> dict[str, Any]:
    """Nested settings of a run; only those that were given."""
    flags: dict[str, Any] = {}
    if method:
        flags["method"] = method
    if backbone:
        flags["backbone"] = backbone
    training = {"seed": seed} if seed >= 0 else {}
    if limit:
        training["limit"] = limit
    return flags | ({"train": training} if training else {})


def seed_numbers(text: str) -> list[int]:
    """Comma-separated seeds.

    Raises:
        UsageError: One is not a whole number.
    """
    from xstilts.errors import UsageError

    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise UsageError(f"no seeds: '{text}'", hint="Write --seeds 1,2,3.") from None


def training_task(target: str) -> str:
    """The task whose rows train a head for `target`."""
    from xstilts.config.load import train_task_of
    from xstilts.errors import UsageError

    trained = train_task_of(target)
    if not trained:
        raise UsageError(f"task {target} needs no training", hint="Evaluate the expression itself.")
    return trained


def workspace_of(state: State, track: str = "") -> Workspace:
    """Where the global options say that a phase reads and writes."""
    from xstilts.cli.zoo_commands import open_zoo
    from xstilts.config import paths
    from xstilts.zoo.workspace import Workspace

    return Workspace(
        data=state.data,
        zoo=open_zoo(state),
        runs=state.runs,
        cache=paths.cache_folder(),
        offline=state.offline or bool(state.world),
        quiet=state.quiet,
        trackers=_trackers(track),
    )


def _trackers(track: str) -> tuple[str, ...]:
    from xstilts.errors import NotFoundError
    from xstilts.train.processes import TRACKERS

    names = tuple(name for name in track.split(",") if name)
    for name in names:
        if name not in TRACKERS:
            raise NotFoundError.named("tracker", name, TRACKERS)
    return names


def run_job(state: State, job: TrainingJob, *, track: str = "", nproc: int = 1) -> None:
    """Train, or with --dry-run say what it would cost, and print the module."""
    from xstilts.backbone.backbone import Backbone as Encoder
    from xstilts.config.run import resolve_run
    from xstilts.train.phases import Phase
    from xstilts.train.run import train_phase

    if nproc > 1 and "RANK" not in os.environ:
        _start_processes(nproc)
    world = state.training_defaults
    run = resolve_run(job.task, job.flags, job.overrides, job.config, state.backbone, world).value
    encoder = Encoder.load(run.backbone, offline=state.offline).to(device())
    command = shlex.join(["xstilts", *sys.argv[1:]])
    phase = Phase(
        job.task,
        run,
        encoder,
        workspace_of(state, track),
        below=job.below,
        init=job.init,
        name=job.name,
        command=command,
    )
    if state.dry_run:
        _print_plan(state, phase)
        return
    began = time.monotonic()
    entry = train_phase(phase, force=job.force)
    _print_entry(state, entry, time.monotonic() - began)


def _start_processes(count: int) -> NoReturn:
    """Become `count` processes that run this same command together."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    own = sys.argv[1:]
    for index, argument in enumerate(own):  # the launcher would take it for one of its own
        if argument.split("=")[0] == "--nproc":
            own = own[:index] + own[index + (1 if "=" in argument else 2) :]
            break
    command = [sys.executable, *launcher, "-m", "xstilts", *own]
    os.execv(sys.executable, command)  # noqa: S606  (our own interpreter and arguments)


def device() -> str:
    """The best device of this machine; each of several local processes has its own."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def _print_plan(state: State, phase: Phase) -> None:
    from xstilts.cli.output import table
    from xstilts.train.estimate import estimate
    from xstilts.train.run import plan_phase

    plan = plan_phase(phase)
    expected = estimate(phase, plan)
    record: dict[str, object] = {
        "task": phase.task.name if len(phase.tasks) == 1 else ", ".join(phase.tasks),
        "module": phase.name,
        "method": phase.run.method,
        "rows": plan.rows,
        "dev rows": plan.dev_rows,
        "steps": plan.steps,
        "tokens": plan.tokens,
        "trainable parameters": plan.trainable_parameters,
        "backbone parameters": plan.backbone_parameters,
        "estimated minutes": round(expected.seconds / 60, 2),
        "tokens a second": round(expected.tokens_per_second),
        "peak memory MB": round(expected.peak_bytes / 1e6),
        "disk MB": round(plan.disk_bytes / 1e6, 2),
        "activation cache MB": round(plan.cached_bytes / 1e6, 2),
        "already there": plan.known.reference if plan.known else "no",
    }
    if len(plan.shares) > 1:
        record["shares"] = {name: round(share, 4) for name, share in plan.shares.items()}
    rows = [(key, f"{v:,}" if isinstance(v, int) else v) for key, v in record.items()]
    state.emit(record, lambda: state.console.print(table(("plan", "value"), rows)))


def _print_entry(state: State, entry: Entry, seconds: float) -> None:
    manifest = entry.manifest
    record = {
        "reference": entry.reference,
        "folder": str(entry.folder),
        "digest": manifest.digest,
        "dev_score": manifest.training.get("dev_score"),
        "steps": manifest.training.get("steps"),
        "mb": round(sum(file.size for file in manifest.files) / 1e6, 2),
        "selection": manifest.training.get("selection"),
        "seconds": round(seconds, 1),
    }

    def human() -> None:
        score = record["dev_score"]
        shown = f"{score:.1f}" if isinstance(score, float) else "none"
        print(f"{entry.reference}  dev {shown} ({record['selection']})  {record['mb']} MB")

    state.emit(record, human)
