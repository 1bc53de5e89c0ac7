"""`xstilts align`: how well languages lie on each other, by block and over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.eval_commands import (
    Compile,
    ComputeAgain,
    Expressions,
    PoolingOption,
    PrecisionOption,
    RowLimit,
    SplitOption,
    layers_of,
)
from xstilts.cli.options import BackboneOption, LanguagesOption
from xstilts.cli.state import State, split_commas

if TYPE_CHECKING:
    from xstilts.report.results import ScoresResult


def align(
    context: typer.Context,
    expressions: Expressions,
    task: Annotated[str, typer.Option(help="Bitexts, comma-separated: tatoeba, ntrex, …")],
    layers: Annotated[str, typer.Option(help="Blocks, such as 5,7-9; `all`, or empty.")] = "all",
    steps: Annotated[
        bool, typer.Option("--steps", help="The snapshots of each module's training too.")
    ] = False,
    languages: LanguagesOption = "",
    split: SplitOption = "",
    limit: RowLimit = None,
    pooling: PoolingOption = "",
    precision: PrecisionOption = "fp32",
    compiled: Compile = False,
    backbone: BackboneOption = "",
    force: ComputeAgain = False,
) -> None:
    """Measure the alignment of a bitext in every block; one pass serves all blocks and measures.

    Nearest neighbour both ways, margin, CSLS, reciprocal rank, CKA, hubness, mean cosine and
    isotropy; rows are kept, and a second run computes nothing.

    Example: xstilts align none mnli --task tatoeba,tico19 --layers all --steps
    """
    from xstilts.cli.eval_output import print_plan

    state: State = context.obj
    session = state.session
    evaluator, requests = session.alignment(
        expressions,
        task.split(","),
        precision=precision,
        compiled=compiled,
        backbone=backbone,
        langs=split_commas(languages),
        layers=() if layers == "all" else layers_of(layers),
        steps=steps,
        split=split,
        limit=limit or 0,
        pooling=pooling,
    )
    if state.dry_run:
        print_plan(state, evaluator.plan(requests), [])
        return
    _show(state, session.run_requests(evaluator, requests, force=force))


def _show(state: State, result: ScoresResult) -> None:
    from xstilts.cli.eval_output import emit_outcome
    from xstilts.report.alignment import alignment_tables

    def human() -> None:
        for view, data in alignment_tables(result.outcome.cells):
            state.table(view.columns, view.rows, view.title)
            print(f"{data}; ±: standard error")

    emit_outcome(state, result.outcome, human)
