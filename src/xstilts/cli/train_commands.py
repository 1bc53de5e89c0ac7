"""`xstilts train-adapter`, `train` and `compose`: what makes modules."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.train.phases import Phase, Places
    from xstilts.zoo import Entry

TaskArgument = Annotated[str, typer.Argument(help="A task (`xstilts tasks ls`) or its YAML.")]
Backbone = Annotated[str, typer.Option(help="Preset, folder or org/name@revision.")]
Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]
Limit = Annotated[int, typer.Option(help="At most this many training rows.")]
Config = Annotated[Path | None, typer.Option(help="A YAML with settings.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, such as train.lr=3e-4.")
]
Name = Annotated[str, typer.Option(help="Name in the library; the task's when empty.")]
On = Annotated[str, typer.Option(help="Expression that acts, frozen, below the new module.")]
Force = Annotated[bool, typer.Option("--force", help="Train again even when it was done before.")]


def train_adapter(
    context: typer.Context,
    task: TaskArgument,
    method: Annotated[str, typer.Option(help="Method preset: seq_bn, par_bn, lora, …")] = "",
    backbone: Backbone = "",
    on: On = "none",
    name: Name = "",
    seed: Seed = -1,
    limit: Limit = 0,
    config: Config = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Train one task as a module on the frozen backbone and keep it in the library.

    Example: xstilts train-adapter mnli --method lora --set train.lr=3e-4
    """
    flags = _flags(method, backbone, seed, limit)
    _run(context.obj, task, flags, overrides or [], config, on, name, force)


def train(
    context: typer.Context,
    task: TaskArgument,
    backbone: Backbone = "",
    on: On = "none",
    name: Name = "",
    seed: Seed = -1,
    limit: Limit = 0,
    config: Config = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Train one task by full fine-tuning; --on FULL-MODULE starts from its encoder (STILTs).

    Example: xstilts train mnli --set train.epochs=2
    """
    flags = _flags("full", backbone, seed, limit)
    _run(context.obj, task, flags, overrides or [], config, on, name, force)


def compose(
    context: typer.Context,
    expression: Annotated[str, typer.Argument(help="Such as `fuse(mnli, qqp)`.")],
    target: Annotated[str, typer.Option(help="Train for this task; empty only explains.")] = "",
    save: Annotated[str, typer.Option(help="Name of the result in the library.")] = "",
    top: Annotated[
        str, typer.Option(help="What trains besides fusion: head, seq_bn, lora, …")
    ] = "head",
    explain: Annotated[bool, typer.Option("--explain", help="Show the parts and stop.")] = False,
    backbone: Backbone = "",
    seed: Seed = -1,
    limit: Limit = 0,
    config: Config = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Combine modules by an expression and train what is new (fusion, head, top) for a target.

    Example: xstilts compose "fuse(mnli, qqp)" --target xnli --save fused
    """
    from xstilts.errors import UsageError

    state: State = context.obj
    if explain or not target:
        _explain(state, expression, backbone or state.backbone)
        return
    if not save:
        raise UsageError("--target needs --save NAME")
    flags = _flags(top, backbone, seed, limit)
    task = training_task(state, target)
    _run(state, task, flags, overrides or [], config, expression, save, force)


def training_task(state: State, target: str) -> str:
    """The task whose rows train a head for `target`."""
    from xstilts.config import load_task
    from xstilts.errors import UsageError

    del state
    spec = load_task(target)
    if not spec.train_task:
        raise UsageError(f"task {target} needs no training", hint="Evaluate the expression itself.")
    return spec.train_task


def _flags(method: str, backbone: str, seed: int, limit: int) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    if method:
        flags["method"] = method
    if backbone:
        flags["backbone"] = backbone
    training = {k: v for k, v in (("seed", seed if seed >= 0 else None), ("limit", limit)) if v}
    if seed == 0:
        training["seed"] = 0
    return flags | ({"train": training} if training else {})


def places(state: State) -> Places:
    """Where the global options say that a phase reads and writes."""
    from xstilts import paths
    from xstilts.train.phases import Places
    from xstilts.zoo import Zoo

    return Places(
        data=state.data,
        zoo=Zoo(state.zoo),
        runs=state.runs,
        cache=paths.cache_folder(),
        offline=state.offline or bool(state.world),
        quiet=state.quiet,
    )


def _run(
    state: State,
    task: str,
    flags: dict[str, Any],
    overrides: list[str],
    config: Path | None,
    below: str,
    name: str,
    force: bool,
) -> None:
    from xstilts.backbone import Backbone as Encoder
    from xstilts.settings import resolve_run
    from xstilts.train.phases import Phase

    run = resolve_run(task, flags, overrides, config, state.backbone).value
    encoder = Encoder.load(run.backbone, offline=state.offline).to(device())
    command = shlex.join(["xstilts", *sys.argv[1:]])
    phase = Phase(task, run, encoder, places(state), below=below, name=name, command=command)
    if state.dry_run:
        _print_plan(state, phase)
        return
    began = time.monotonic()
    entry = phase.execute(force=force)
    _print_entry(state, entry, time.monotonic() - began)


def device() -> str:
    """The best device of this machine."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _print_plan(state: State, phase: Phase) -> None:
    from xstilts.cli.output import table

    plan = phase.plan()
    record: dict[str, object] = {
        "task": phase.task.name,
        "module": phase.name,
        "method": phase.run.method,
        "rows": plan.rows,
        "dev rows": plan.dev_rows,
        "steps": plan.steps,
        "trainable parameters": plan.trainable_parameters,
        "backbone parameters": plan.backbone_parameters,
        "disk MB": round(plan.disk_bytes / 1e6, 2),
        "already there": plan.known.reference if plan.known else "no",
    }
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
        "selection": manifest.training.get("selection"),
        "seconds": round(seconds, 1),
    }

    def human() -> None:
        score = record["dev_score"]
        shown = f"{score:.1f}" if isinstance(score, float) else "none"
        print(f"{entry.reference}  dev {shown} ({record['selection']})")

    state.emit(record, human)


def _explain(state: State, expression: str, backbone: str) -> None:
    from xstilts import library
    from xstilts.backbone import Backbone as Encoder
    from xstilts.cli.output import table
    from xstilts.zoo import Zoo

    encoder = Encoder.load(backbone, offline=state.offline)
    tree, entries = library.resolve(expression, Zoo(state.zoo), encoder)
    columns = ("part", "task", "method", "digest", "parameters", "dev")
    rows = [
        (
            name,
            e.manifest.task,
            e.manifest.preset,
            e.manifest.digest[:12],
            f"{e.manifest.trainable_parameters:,}",
            e.manifest.training.get("dev_score") or "",
        )
        for name, e in entries.items()
    ]
    record = {"expression": str(tree), "parts": [dict(zip(columns, r, strict=True)) for r in rows]}
    state.emit(record, lambda: state.console.print(table(columns, rows, str(tree))))
