"""`xstilts eval` and `xstilts xtreme`: predictions and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xstilts.cli.eval_output import print_plan, print_scores
from xstilts.cli.options import BackboneOption, LanguagesOption
from xstilts.cli.state import State, split_commas

Expressions = Annotated[list[str], typer.Argument(help="Expressions, such as none or mnli/lora.")]
SplitOption = Annotated[str, typer.Option(help="Empty means the task's own.")]
RowLimit = Annotated[
    int | None,
    typer.Option(min=1, help="Only so many first rows of each language; every score says so."),
]
Layers = Annotated[
    str,
    typer.Option(help="Blocks pooled for retrieval, such as 7 or 5,7-9; empty: the backbone's."),
]
PoolingOption = Annotated[
    str, typer.Option(help="mean, cls or last, for retrieval; empty: the task's.")
]
PrecisionOption = Annotated[
    str, typer.Option(help="fp32; bf16 where the machine computes in it; int8 on a CPU.")
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Run the blocks through torch.compile; for a GPU.")
]
ComputeAgain = Annotated[bool, typer.Option("--force", help="Compute finished cells again.")]


def evaluate(
    context: typer.Context,
    expressions: Expressions,
    task: Annotated[str, typer.Option(help="The task.")],
    languages: LanguagesOption = "",
    split: SplitOption = "",
    limit: RowLimit = None,
    layers: Layers = "",
    pooling: PoolingOption = "",
    task_options: Annotated[
        list[str] | None,
        typer.Option("--task-option", help="margin=distance, decode=whitespace, …"),
    ] = None,
    head: Annotated[
        str, typer.Option(help="Module whose head predicts, for a merge or stack without one.")
    ] = "",
    precision: PrecisionOption = "fp32",
    compiled: Compile = False,
    backbone: BackboneOption = "",
    force: ComputeAgain = False,
) -> None:
    """Evaluate expressions on one task; only missing cells are computed.

    Example: xstilts eval none mnli --task tatoeba --langs de,sw

    Example: xstilts eval "average(mnli, qqp)" --head mnli --task xnli
    """
    state: State = context.obj
    session = state.session
    evaluator, requests = session.evaluation(
        expressions,
        task,
        precision=precision,
        compiled=compiled,
        backbone=backbone,
        langs=split_commas(languages),
        split=split,
        limit=limit or 0,
        layers=layers_of(layers),
        pooling=pooling,
        options=_options(task_options),
        head=head,
    )
    if state.dry_run:
        print_plan(state, evaluator.plan(requests), [])
        return
    print_scores(state, session.run_requests(evaluator, requests, force=force))


def xtreme(
    context: typer.Context,
    expressions: Expressions,
    tasks: Annotated[str, typer.Option(help="Comma-separated; empty: the suite's.")] = "",
    suite: Annotated[
        str, typer.Option(help="xtreme, xtreme-r or modern: tasks and their languages.")
    ] = "xtreme",
    top: Annotated[
        str, typer.Option(help="New module trained for a target where no head fits.")
    ] = "seq_bn",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="For that training.")] = None,
    languages: LanguagesOption = "",
    split: SplitOption = "",
    limit: RowLimit = None,
    layers: Layers = "",
    pooling: PoolingOption = "",
    precision: PrecisionOption = "fp32",
    compiled: Compile = False,
    backbone: BackboneOption = "",
    submit_dir: Annotated[
        Path | None, typer.Option(help="Also write the predictions in XTREME's official layout.")
    ] = None,
    force: ComputeAgain = False,
) -> None:
    """Evaluate expressions on several targets; a missing target head is trained first.

    Example: xstilts xtreme none mnli "fuse(mnli, qqp)" --tasks xnli,tatoeba

    Example: xstilts xtreme mnli --submit-dir submission
    """
    state: State = context.obj
    session = state.session
    backbone = session.reference_for(expressions, backbone)
    shared: dict[str, Any] = {
        "tasks": split_commas(tasks),
        "suite": suite,
        "top": top,
        "overrides": overrides or [],
        "langs": split_commas(languages),
        "split": split,
        "limit": limit or 0,
        "layers": layers_of(layers),
        "pooling": pooling,
        "backbone": backbone,
    }
    how: dict[str, Any] = {"precision": precision, "compiled": compiled}
    if state.dry_run:
        requests, ahead = session.suite_requests(expressions, plan_only=True, **shared)
        evaluator = session.evaluator(backbone=backbone, **how)
        print_plan(state, evaluator.plan(requests), ahead)
        return
    print_scores(
        state, session.xtreme(expressions, submit_dir=submit_dir, force=force, **shared, **how)
    )


def layers_of(text: str) -> list[int]:
    """The blocks of `5,7-9`; none for an empty text."""
    from xstilts.errors import UsageError

    blocks: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"'{text}' names no blocks", hint="Such as 7, or 5,7-9.")
        blocks += range(int(first), int(last or first) + 1)
    return blocks


def _options(texts: list[str] | None) -> dict[str, str]:
    from xstilts.errors import UsageError

    for text in texts or ():
        if "=" not in text:
            raise UsageError(f"--task-option needs key=value, not '{text}'")
    pairs = (text.partition("=") for text in texts or ())
    return {key.strip(): value.strip() for key, _, value in pairs}
