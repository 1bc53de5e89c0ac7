"""`xstilts train-adapter` and `train`: modules from the rows of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xstilts.cli.options import BackboneOption
from xstilts.cli.state import split_commas
from xstilts.cli.training import run_training

TaskArgument = Annotated[
    str, typer.Argument(help="A task (`xstilts tasks ls`), tasks joined by commas, or multitask.")
]
SeedOption = Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="At most this many training rows of each task.")
]
DevLimit = Annotated[
    int | None,
    typer.Option(
        min=0, help="Only so many first dev rows of each task, 0 for all; the selection says so."
    ),
]
ConfigOption = Annotated[Path | None, typer.Option(help="A YAML with settings.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Of the training: key=value, such as train.lr=3e-4."),
]
Name = Annotated[str, typer.Option(help="Name in the library; the task's when empty.")]
StackOn = Annotated[
    str, typer.Option("--stack-on", help="Expression that acts, frozen, below the new module.")
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option("--method-option", help="Option of the method: rank=16, reduction_factor=8, …"),
]
InitFrom = Annotated[str, typer.Option(help="Module whose weights the new one starts from.")]
TrainAgain = Annotated[
    bool, typer.Option("--force", help="Train again even when it was done before.")
]
SourceLangs = Annotated[
    str, typer.Option(help="Comma-separated languages of the training rows; empty: the task's.")
]
Mlm = Annotated[
    float | None,
    typer.Option(help="Share of the steps that train masked language modelling, 0 to 1."),
]
Text = Annotated[
    list[str] | None,
    typer.Option(help="[LANG=]FILE of plain text for masked language modelling, one text a line."),
]
SelectOn = Annotated[
    str, typer.Option(help="source-dev, or target-dev (every score row then says so).")
]
TargetOption = Annotated[str, typer.Option(help="The target of target-dev.")]
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
Nproc = Annotated[int, typer.Option(min=1, help="Processes that train together on this machine.")]


def train_adapter(
    context: typer.Context,
    task: TaskArgument,
    method: Annotated[str, typer.Option(help="Method preset: seq_bn, par_bn, lora, …")] = "",
    on_task: Annotated[
        str, typer.Option("--task", help="The task, when the argument is the module's name.")
    ] = "",
    backbone: BackboneOption = "",
    stack_on: StackOn = "none",
    init_from: InitFrom = "",
    name: Name = "",
    seed: SeedOption = None,
    limit: LimitOption = None,
    dev_limit: DevLimit = None,
    source_langs: SourceLangs = "",
    mlm: Mlm = None,
    text: Text = None,
    select_on: SelectOn = "",
    target: TargetOption = "",
    track: Track = "",
    nproc: Nproc = 1,
    cache_activations: CacheActivations = False,
    config: ConfigOption = None,
    method_options: MethodOptions = None,
    overrides: Overrides = None,
    force: TrainAgain = False,
) -> None:
    """Train one task, or several, as a module on the frozen backbone and keep it in the library.

    Example: xstilts train-adapter mnli --method lora --set train.lr=3e-4

    Example: xstilts train-adapter lang-sw --task mlm --text sw.txt --method lang
    """
    if on_task:
        name, task = name or task, on_task
        language = name.rpartition("-")[2]  # as in `lang-sw`
        text = [entry if "=" in entry else f"{language}={entry}" for entry in text or []]
    flags = _flags(source_langs, mlm, text or [], select_on, target, dev_limit, cache_activations)
    settings = [*(overrides or ()), *(f"options.{option}" for option in method_options or ())]
    how: dict[str, Any] = {"base": stack_on, "init": init_from, "name": name, "config": config}
    how |= {"settings": flags, "overrides": settings}
    how |= {"method": method, "backbone": backbone, "seed": seed, "limit": limit}
    run_training(context.obj, task=task, track=track, nproc=nproc, force=force, **how)


def train(
    context: typer.Context,
    task: TaskArgument,
    difference: Annotated[
        bool, typer.Option("--difference", help="Store what differs from the backbone only.")
    ] = False,
    backbone: BackboneOption = "",
    stack_on: StackOn = "none",
    init_from: InitFrom = "",
    name: Name = "",
    seed: SeedOption = None,
    limit: LimitOption = None,
    dev_limit: DevLimit = None,
    source_langs: SourceLangs = "",
    mlm: Mlm = None,
    text: Text = None,
    select_on: SelectOn = "",
    target: TargetOption = "",
    track: Track = "",
    nproc: Nproc = 1,
    config: ConfigOption = None,
    overrides: Overrides = None,
    force: TrainAgain = False,
) -> None:
    """Train by full fine-tuning; --stack-on FULL-MODULE starts from its encoder (STILTs).

    Example: xstilts train multitask --mlm 0.1 --set train.epochs=2
    """
    flags = _flags(source_langs, mlm, text or [], select_on, target, dev_limit)
    how: dict[str, Any] = {"base": stack_on, "init": init_from, "name": name, "config": config}
    how |= {"settings": flags, "overrides": overrides or []}
    how |= {"method": "full_delta" if difference else "full"}
    how |= {"backbone": backbone, "seed": seed, "limit": limit}
    run_training(context.obj, task=task, track=track, nproc=nproc, force=force, **how)


def _flags(
    source_langs: str,
    mlm: float | None,
    text: list[str],
    select_on: str,
    target: str,
    dev_limit: int | None,
    cache_activations: bool = False,
) -> dict[str, Any]:
    """Nested settings of what is learned from; only those that were given."""
    flags: dict[str, Any] = {
        "source": {"languages": split_commas(source_langs)} if source_langs else {},
        "mlm": {"share": mlm, "text": text or None},
        "train": {"dev_limit": dev_limit, "cache_activations": cache_activations or None},
        "select_on": select_on,
        "target": target,
    }
    for group in ("mlm", "train"):  # a number may be 0
        flags[group] = {k: v for k, v in flags[group].items() if v is not None}
    return {key: value for key, value in flags.items() if value}
