"""`xstilts compose`: modules combined by an expression, explained, merged or trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.options import BackboneOption
from xstilts.cli.state import State
from xstilts.cli.train_commands import (
    ConfigOption,
    DevLimit,
    LimitOption,
    Overrides,
    SeedOption,
    TrainAgain,
)
from xstilts.cli.training import train_and_print

if TYPE_CHECKING:
    from xstilts.report.results import ModuleResult


def compose(
    context: typer.Context,
    expression: Annotated[str, typer.Argument(help="Such as `fuse(mnli, qqp)`.")],
    target: Annotated[str, typer.Option(help="Train for this task; empty only explains.")] = "",
    save: Annotated[str, typer.Option(help="Name of the result in the library.")] = "",
    top: Annotated[
        str, typer.Option(help="What trains besides fusion: head, seq_bn, lora, …")
    ] = "head",
    explain: Annotated[bool, typer.Option("--explain", help="Show the parts and stop.")] = False,
    backbone: BackboneOption = "",
    seed: SeedOption = None,
    limit: LimitOption = None,
    dev_limit: DevLimit = None,
    config: ConfigOption = None,
    overrides: Overrides = None,
    force: TrainAgain = False,
) -> None:
    """Combine modules by an expression and train what is new (fusion, head, top) for a target.

    `xstilts search` finds weights instead, for a head that is there.

    Example: xstilts compose "fuse(mnli, qqp)" --target xnli --save fused

    Example: xstilts compose "merge_ties(mnli/lora, qqp/lora, density=0.3)" --save merged
    """
    from xstilts.errors import UsageError

    state: State = context.obj
    if save and not target and not explain and not state.dry_run:
        _print_merged(state, state.session.compose(expression, save, backbone=backbone))
        return
    if explain or not target:
        _explain(state, expression, backbone)
        return
    if not save:
        raise UsageError("--target needs --save NAME")
    training = state.session.target_training(
        expression,
        target,
        top=top,
        name=save,
        backbone=backbone,
        seed=seed,
        limit=limit,
        settings={"train": {"dev_limit": dev_limit}} if dev_limit is not None else {},
        overrides=overrides or [],
        config=config,
    )
    train_and_print(state, force=force, **training)


def _print_merged(state: State, result: ModuleResult) -> None:
    lost = result.manifest.training["relative_error"]
    record = {
        "reference": result.reference,
        "folder": str(result.folder),
        "digest": result.digest,
        "relative_error": lost,
    }
    state.emit(record, lambda: print(f"{result.reference}  {lost:.2%} of the update was cut off"))


def _explain(state: State, expression: str, backbone: str) -> None:
    from dataclasses import asdict

    found = state.session.explain(expression, backbone=backbone)

    def human() -> None:
        rows = [
            (
                "  " * line.depth + line.text,
                line.task,
                line.method,
                ", ".join(line.sites),
                line.backbone,
                line.digest,
                f"{line.megabytes:.2f}" if line.digest else "",
                f"{line.trained:,}" if line.trained else "",
            )
            for line in found.lines
        ]
        columns = ("part", "task", "method", "sites", "backbone", "digest", "MB", "trained")
        state.table(columns, rows, found.expression)
        print(
            f"{found.parameters:,} numbers beside the encoder ({found.learned:,} to be learned), "
            f"{found.flops_per_token:,} FLOPs a token"
        )
        for warning in found.warnings:
            print(f"note: {warning}")

    state.emit(asdict(found), human)
