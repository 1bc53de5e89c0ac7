"""`xstilts train-adapter`, `train` and `compose`: what makes modules."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.train.phases import Phase, Places
    from xstilts.zoo import Entry

TaskArgument = Annotated[
    str, typer.Argument(help="A task (`xstilts tasks ls`), tasks joined by commas, or multitask.")
]
Backbone = Annotated[str, typer.Option(help="Preset, folder or org/name@revision.")]
Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]
Limit = Annotated[int, typer.Option(help="At most this many training rows of each task.")]
Config = Annotated[Path | None, typer.Option(help="A YAML with settings.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, such as train.lr=3e-4.")
]
Name = Annotated[str, typer.Option(help="Name in the library; the task's when empty.")]
On = Annotated[str, typer.Option(help="Expression that acts, frozen, below the new module.")]
InitFrom = Annotated[str, typer.Option(help="Module whose weights the new one starts from.")]
Force = Annotated[bool, typer.Option("--force", help="Train again even when it was done before.")]
SourceLang = Annotated[
    str, typer.Option(help="Comma-separated languages of the training rows; empty: the task's.")
]
Mlm = Annotated[
    float, typer.Option(help="Share of the steps that train masked language modelling, 0 to 1.")
]
Text = Annotated[
    list[str] | None,
    typer.Option(help="[LANG=]FILE of plain text for masked language modelling, one text a line."),
]
SelectOn = Annotated[
    str, typer.Option(help="source-dev, or target-dev (every score row then says so).")
]
Target = Annotated[str, typer.Option(help="The target of target-dev.")]
Track = Annotated[
    str, typer.Option(help="Comma-separated trackers: tensorboard, trackio, wandb, mlflow.")
]
CacheActivations = Annotated[
    bool,
    typer.Option(
        "--cache-activations",
        help="Keep the outputs of blocks below the first that trains on disk; no dropout in them.",
    ),
]
Nproc = Annotated[int, typer.Option(help="Processes that train together on this machine.")]


@dataclass(frozen=True)
class _Job:
    """A training as the command line states it."""

    task: str
    flags: dict[str, Any]
    overrides: list[str]
    config: Path | None
    below: str
    init: str
    name: str
    force: bool


def train_adapter(
    context: typer.Context,
    task: TaskArgument,
    method: Annotated[str, typer.Option(help="Method preset: seq_bn, par_bn, lora, …")] = "",
    on_task: Annotated[
        str, typer.Option("--task", help="The task, when the argument is the module's name.")
    ] = "",
    backbone: Backbone = "",
    on: On = "none",
    init_from: InitFrom = "",
    name: Name = "",
    seed: Seed = -1,
    limit: Limit = 0,
    source_lang: SourceLang = "",
    mlm: Mlm = 0.0,
    text: Text = None,
    select_on: SelectOn = "",
    target: Target = "",
    track: Track = "",
    nproc: Nproc = 1,
    cache_activations: CacheActivations = False,
    config: Config = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Train one task, or several, as a module on the frozen backbone and keep it in the library.

    Example: xstilts train-adapter mnli --method lora --set train.lr=3e-4
    Example: xstilts train-adapter lang-sw --task mlm --text sw.txt --method lang
    """
    if on_task:
        name, task = name or task, on_task
        text = [entry if "=" in entry else f"{_language(name)}={entry}" for entry in text or []]
    flags = _flags(method, backbone, seed, limit)
    if cache_activations:
        flags["train"] = {**flags.get("train", {}), "cache_activations": True}
    flags |= _data_flags(source_lang, mlm, text or [], select_on, target)
    job = _Job(task, flags, overrides or [], config, on, init_from, name, force)
    _run(context.obj, job, track=track, nproc=nproc)


def train(
    context: typer.Context,
    task: TaskArgument,
    difference: Annotated[
        bool, typer.Option("--difference", help="Store what differs from the backbone only.")
    ] = False,
    backbone: Backbone = "",
    on: On = "none",
    init_from: InitFrom = "",
    name: Name = "",
    seed: Seed = -1,
    limit: Limit = 0,
    source_lang: SourceLang = "",
    mlm: Mlm = 0.0,
    text: Text = None,
    select_on: SelectOn = "",
    target: Target = "",
    track: Track = "",
    nproc: Nproc = 1,
    config: Config = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Train by full fine-tuning; --on FULL-MODULE starts from its encoder (STILTs).

    Example: xstilts train multitask --mlm 0.1 --set train.epochs=2
    """
    flags = _flags("full_diff" if difference else "full", backbone, seed, limit)
    flags |= _data_flags(source_lang, mlm, text or [], select_on, target)
    job = _Job(task, flags, overrides or [], config, on, init_from, name, force)
    _run(context.obj, job, track=track, nproc=nproc)


def compose(
    context: typer.Context,
    expression: Annotated[str, typer.Argument(help="Such as `fuse(mnli, qqp)`.")],
    target: Annotated[str, typer.Option(help="Train for this task; empty only explains.")] = "",
    save: Annotated[str, typer.Option(help="Name of the result in the library.")] = "",
    top: Annotated[
        str, typer.Option(help="What trains besides fusion: head, seq_bn, lora, …")
    ] = "head",
    explain: Annotated[bool, typer.Option("--explain", help="Show the parts and stop.")] = False,
    search: Annotated[
        str, typer.Option(help="`dev`: find the weights on dev examples; trains nothing.")
    ] = "",
    head: Annotated[str, typer.Option(help="Module whose head a search uses.")] = "",
    budget: Annotated[int, typer.Option(help="Weights that a search judges.")] = 60,
    shots: Annotated[int, typer.Option(help="Examples that a search judges on.")] = 64,
    backbone: Backbone = "",
    seed: Seed = -1,
    limit: Limit = 0,
    config: Config = None,
    overrides: Overrides = None,
    force: Force = False,
) -> None:
    """Combine modules by an expression and train what is new (fusion, head, top) for a target.

    With --search dev, weights are found instead, for a head that is there (LoraHub).

    Example: xstilts compose "fuse(mnli, qqp)" --target xnli --save fused
    Example: xstilts compose "merge_ties(mnli/lora, qqp/lora, density=0.3)" --save merged
    """
    from xstilts.errors import UsageError

    state: State = context.obj
    if search:
        from xstilts.cli.search_commands import SearchOptions
        from xstilts.cli.search_commands import search as find

        if search != "dev" or not target:
            raise UsageError("a search is written --search dev --target TASK")
        number = seed if seed >= 0 else 42
        find(state, expression, SearchOptions(target, head, budget, shots, number, backbone, save))
        return
    if save and not target and not explain:
        _keep_merged(state, expression, save, backbone or state.backbone)
        return
    if explain or not target:
        _explain(state, expression, backbone or state.backbone)
        return
    if not save:
        raise UsageError("--target needs --save NAME")
    flags = _flags(top, backbone, seed, limit) | {"target": target}
    task = training_task(target)
    _run(state, _Job(task, flags, overrides or [], config, expression, "", save, force))


def training_task(target: str) -> str:
    """The task whose rows train a head for `target`."""
    from xstilts.config import train_task_of
    from xstilts.errors import UsageError

    trained = train_task_of(target)
    if not trained:
        raise UsageError(f"task {target} needs no training", hint="Evaluate the expression itself.")
    return trained


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


def _data_flags(
    source_lang: str, mlm: float, text: list[str], select_on: str, target: str
) -> dict[str, Any]:
    """Nested settings of what is learned from; only those that were given."""
    flags: dict[str, Any] = {}
    if source_lang:
        flags["source"] = {"languages": [code for code in source_lang.split(",") if code]}
    beside = {k: v for k, v in (("share", mlm), ("text", text)) if v}
    if beside:
        flags["mlm"] = beside
    given = {"select_on": select_on, "target": target}
    return flags | {key: value for key, value in given.items() if value}


def _language(name: str) -> str:
    """The language that a module's name ends with, as in `lang-sw`."""
    return name.rpartition("-")[2]


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


def places(state: State, track: str = "") -> Places:
    """Where the global options say that a phase reads and writes."""
    from xstilts import paths
    from xstilts.cli.zoo_commands import open_zoo
    from xstilts.train.phases import Places

    return Places(
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


def _run(state: State, job: _Job, *, track: str = "", nproc: int = 1) -> None:
    from xstilts.backbone import Backbone as Encoder
    from xstilts.settings import resolve_run
    from xstilts.train.phases import Phase

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
        places(state, track),
        below=job.below,
        init=job.init,
        name=job.name,
        command=command,
    )
    if state.dry_run:
        _print_plan(state, phase)
        return
    began = time.monotonic()
    entry = phase.execute(force=job.force)
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

    plan = phase.plan()
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


def _keep_merged(state: State, expression: str, name: str, backbone: str) -> None:
    from xstilts.backbone import Backbone as Encoder
    from xstilts.cli.zoo_commands import open_zoo
    from xstilts.merging import keep_merged

    encoder = Encoder.load(backbone, offline=state.offline)
    entry = keep_merged(expression, name, open_zoo(state), encoder)
    record = {
        "reference": entry.reference,
        "folder": str(entry.folder),
        "digest": entry.manifest.digest,
        "relative_error": entry.manifest.training["relative_error"],
    }
    error = f"{record['relative_error']:.2%} of the update was cut off"
    state.emit(record, lambda: print(f"{entry.reference}  {error}"))


def _explain(state: State, expression: str, backbone: str) -> None:
    from dataclasses import asdict

    from xstilts.backbone import Backbone as Encoder
    from xstilts.cli.output import table
    from xstilts.cli.zoo_commands import open_zoo
    from xstilts.explain import explain

    encoder = Encoder.load(backbone, offline=state.offline)
    found = explain(expression, open_zoo(state), encoder)

    def human() -> None:
        rows = [
            (
                "  " * line.depth + line.text,
                line.task,
                line.method,
                line.backbone,
                line.digest,
                f"{line.megabytes:.2f}" if line.digest else "",
                f"{line.trained:,}" if line.trained else "",
            )
            for line in found.lines
        ]
        columns = ("part", "task", "method", "backbone", "digest", "MB", "trained")
        state.console.print(table(columns, rows, found.expression))
        print(
            f"{found.parameters:,} numbers beside the encoder ({found.learned:,} to be learned), "
            f"{found.flops_per_token:,} FLOPs a token"
        )
        for warning in found.warnings:
            print(f"note: {warning}")

    state.emit(asdict(found), human)
