"""`xstilts align`: how well languages lie on each other, by block and over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.eval_commands import (
    BackboneOption,
    Compile,
    Expressions,
    Force,
    Languages,
    Pooling,
    Precision,
    Split,
    encoder_of,
    evaluator_of,
    layers_of,
    run_requests,
)
from xstilts.cli.state import State
from xstilts.cli.training import workspace_of

if TYPE_CHECKING:
    from xstilts.evaluate.request import EvaluationOutcome, Request


def align(
    context: typer.Context,
    expressions: Expressions,
    task: Annotated[str, typer.Option(help="Bitexts, comma-separated: tatoeba, ntrex, …")],
    layers: Annotated[str, typer.Option(help="Blocks, such as 5,7-9; `all`, or empty.")] = "all",
    steps: Annotated[
        bool, typer.Option("--steps", help="The snapshots of each module's training too.")
    ] = False,
    languages: Languages = "",
    split: Split = "",
    pooling: Pooling = "",
    precision: Precision = "fp32",
    compiled: Compile = False,
    backbone: BackboneOption = "",
    force: Force = False,
) -> None:
    """Measure the alignment of a bitext in every block; one pass serves all blocks and measures.

    Nearest neighbour both ways, margin, CSLS, reciprocal rank, CKA, hubness, mean cosine and
    isotropy; rows are kept, and a second run computes nothing.

    Example: xstilts align none mnli --task tatoeba,tico19 --layers all --steps
    """
    from xstilts.cli.eval_output import print_plan
    from xstilts.evaluate.request import Request

    state: State = context.obj
    blocks = list(range(len(encoder_of(state, backbone).blocks) + 1))
    chosen = blocks if layers == "all" else layers_of(layers)
    codes = tuple(code for code in languages.split(",") if code)
    requests = [
        Request(used, name, label, codes, split, block, pooling, alignment=True)
        for expression in expressions
        for label, used in _checkpoints(state, expression, steps, backbone)
        for name in task.split(",")
        for block in chosen
    ]
    evaluation = evaluator_of(state, backbone, precision, compiled)
    if state.dry_run:
        print_plan(state, evaluation.plan(requests), [])
        return
    outcome = run_requests(state, evaluation, requests, force)
    _show(state, outcome, requests)


def _checkpoints(
    state: State, expression: str, steps: bool, backbone: str
) -> list[tuple[str, str]]:
    """(label, expression) of what is measured: the snapshots in order, then the module itself."""
    from xstilts.evaluate.alignment.snapshots import snapshot_label, snapshots

    if not steps or expression == "none":
        return [(expression, expression)]
    kept = snapshots(expression, workspace_of(state).zoo, encoder_of(state, backbone))
    shown = [(snapshot_label(expression, step), f"@{e.manifest.digest}") for step, e in kept]
    return [*shown, (expression, expression)]


def _show(state: State, outcome: EvaluationOutcome, requests: Sequence[Request]) -> None:
    from xstilts.cli.eval_output import emit_outcome
    from xstilts.cli.output import table
    from xstilts.report.alignment import alignment_table

    def human() -> None:
        for name in dict.fromkeys(request.task for request in requests):
            view = alignment_table([row for row in outcome.scores if row.task == name])
            state.console.print(table(view.columns, view.rows, view.title))

    emit_outcome(state, outcome, human)
