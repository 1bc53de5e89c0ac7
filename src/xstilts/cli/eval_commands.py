"""`xstilts eval` and `xstilts xtreme`: predictions and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State
from xstilts.cli.train_commands import device, places, training_task

if TYPE_CHECKING:
    from xstilts.evaluate.suite import Outcome, Request

Expressions = Annotated[list[str], typer.Argument(help="Expressions, such as none or mnli/lora.")]
Languages = Annotated[str, typer.Option("--langs", help="Comma-separated; empty means all.")]
Split = Annotated[str, typer.Option(help="Empty means the task's own.")]
Layer = Annotated[int, typer.Option(help="Block pooled for retrieval; -1 is the backbone's.")]
Pooling = Annotated[str, typer.Option(help="mean or cls, for retrieval.")]
BackboneOption = Annotated[str, typer.Option("--backbone", help="Preset, folder or hub id.")]
Force = Annotated[bool, typer.Option("--force", help="Compute finished cells again.")]


def evaluate(
    context: typer.Context,
    expressions: Expressions,
    task: Annotated[str, typer.Option(help="The task.")],
    languages: Languages = "",
    split: Split = "",
    layer: Layer = -1,
    pooling: Pooling = "mean",
    backbone: BackboneOption = "",
    force: Force = False,
) -> None:
    """Evaluate expressions on one task; only missing cells are computed.

    Example: xstilts eval none mnli --task tatoeba --langs de,sw
    """
    from xstilts.evaluate.suite import Request

    chosen = tuple(code for code in languages.split(",") if code)
    requests = [
        Request(e, task, languages=chosen, split=split, layer=layer, pooling=pooling)
        for e in expressions
    ]
    state: State = context.obj
    print_outcome(state, run_requests(state, requests, backbone, force))


def xtreme(
    context: typer.Context,
    expressions: Expressions,
    tasks: Annotated[str, typer.Option(help="Comma-separated.")] = "xnli,tatoeba",
    top: Annotated[
        str, typer.Option(help="New module trained for a target where no head fits.")
    ] = "seq_bn",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="For that training.")] = None,
    split: Split = "",
    layer: Layer = -1,
    pooling: Pooling = "mean",
    backbone: BackboneOption = "",
    force: Force = False,
) -> None:
    """Evaluate expressions on several targets; a missing target head is trained first.

    Example: xstilts xtreme none mnli "fuse(mnli, qqp)" --tasks xnli,tatoeba
    """
    from xstilts.config import load_task
    from xstilts.evaluate.suite import Request

    state: State = context.obj
    requests = []
    for expression in expressions:
        for task in tasks.split(","):
            used = expression
            if load_task(task).format != "retrieval":
                used = _with_head(state, expression, task, top, overrides or [], backbone)
            requests.append(
                Request(used, task, expression, split=split, layer=layer, pooling=pooling)
            )
    print_outcome(state, run_requests(state, requests, backbone, force))


def _with_head(
    state: State, expression: str, target: str, top: str, overrides: list[str], backbone: str
) -> str:
    """The expression, or the module trained on top of it for the target."""
    from xstilts import library
    from xstilts.backbone import Backbone
    from xstilts.composition import operators, parse
    from xstilts.config import load_task
    from xstilts.data.sources import task_in_world
    from xstilts.files import digest
    from xstilts.settings import resolve_run
    from xstilts.train.phases import Phase

    where = places(state)
    encoder = Backbone.load(backbone or state.backbone, offline=state.offline).to(device())
    loaded = library.load_expression(expression, where.zoo, encoder)
    task = task_in_world(load_task(target), where.data)
    if loaded.head_for(task) is not None:
        return expression
    trained = training_task(state, target)
    method = "head" if "fuse" in operators(parse(expression)) else top
    flags: dict[str, Any] = {"method": method, "backbone": backbone or state.backbone}
    flags["target"] = target
    world = state.training_defaults
    run = resolve_run(trained, flags, overrides, None, state.backbone, world).value
    name = f"{target}-on-{digest(expression)[:8]}" if loaded.entries else f"{target}-alone"
    phase = Phase(trained, run, encoder, where, below=expression, name=name)
    state.note(f"target phase: {trained} as {method} on {expression}")
    return "@" + phase.execute().manifest.digest


def run_requests(
    state: State, requests: list[Request], backbone: str, force: bool = False
) -> Outcome:
    """Evaluate with a progress bar."""
    from xstilts.backbone import Backbone
    from xstilts.cli.output import step_progress
    from xstilts.evaluate.results import ResultStore
    from xstilts.evaluate.suite import Evaluation

    encoder = Backbone.load(backbone or state.backbone, offline=state.offline).to(device())
    evaluation = Evaluation(encoder, places(state), ResultStore(state.results))
    with step_progress("evaluating", quiet=state.quiet) as progress:
        return evaluation.run(requests, progress, force=force)


def print_outcome(state: State, outcome: Outcome) -> None:
    """The main scores by expression and language, and what was computed or missing."""
    from xstilts.evaluate.views import language_tables

    record = {
        "schema": "xstilts.scores/1",
        "computed": outcome.computed,
        "cached": len(outcome.cells) - outcome.computed,
        "missing": outcome.missing,
        "scores": [score.model_dump() for score in outcome.scores],
    }

    def human() -> None:
        from xstilts.cli.output import table

        for view in language_tables(outcome.scores):
            state.console.print(table(view.columns, view.rows, view.title))
        state.note(f"{outcome.computed} cells computed, {record['cached']} reused")
        if outcome.missing:
            state.note(f"no data for {', '.join(outcome.missing)}")

    state.emit(record, human)
