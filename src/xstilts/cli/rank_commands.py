"""`xstilts rank`: which intermediate for a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.options import BackboneOption
from xstilts.cli.state import State, split_commas

if TYPE_CHECKING:
    from xstilts.evaluate.ranking import ModuleRanking


def rank(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="A task, such as xnli.")],
    modules: Annotated[str, typer.Option(help="Comma-separated; empty means all.")] = "",
    methods: Annotated[str, typer.Option(help="Of text, task, probe, logme.")] = "",
    shots: Annotated[int, typer.Option(help="Labelled rows of each task.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the rows chosen and of the probes.")] = 42,
    backbone: BackboneOption = "",
) -> None:
    """Order the library's modules as intermediates for a target, before any training.

    text and task compare both tasks' rows; probe and logme look at the target's rows through each
    module. All are higher for better; where scores are stored, the agreement is shown.

    Example: xstilts rank xnli --methods probe,logme
    """
    state: State = context.obj
    ranking = state.session.ranking(
        target,
        split_commas(modules),
        methods=split_commas(methods),
        shots=shots,
        seed=seed,
        backbone=backbone,
    )
    if state.dry_run:
        found = [entry.reference for entry in ranking.entries]
        state.emit(found, lambda: print("\n".join(found)))
        return
    result = state.session.run_ranking(ranking)
    _print(state, result.outcome, result.methods)


def _print(state: State, outcome: ModuleRanking, methods: tuple[str, ...]) -> None:
    from xstilts.zoo.entry import pair

    def human() -> None:
        columns = ("module", "mean rank", *methods, "known")
        rows = [
            (
                f"{pair(row.entry.manifest)}@{row.entry.manifest.digest[:6]}",
                f"{row.mean_rank:.1f}",
                *(f"{row.estimates[m]:.4f}" if m in row.estimates else "" for m in methods),
                "" if row.known is None else f"{row.known:.1f}",
            )
            for row in outcome.rows
        ]
        state.table(columns, rows, "best intermediate first")
        for note in dict.fromkeys(note for row in outcome.rows for note in row.notes):
            state.note(note)
        if outcome.agreements:
            shown = [
                (a.method, a.modules, f"{a.spearman:.2f}", f"{a.kendall:.2f}", f"{a.regret:.1f}")
                for a in outcome.agreements
            ]
            heading = ("method", "modules", "Spearman", "Kendall", "regret %")
            state.table(heading, shown, "agreement with stored scores")
        else:
            state.note("fewer than three modules have stored scores: no agreement to show")

    state.emit(_record(outcome), human)


def _record(outcome: ModuleRanking) -> dict[str, Any]:
    return {
        "schema": "xstilts.evaluate.ranking/1",
        "modules": [
            {
                "reference": row.entry.reference,
                "digest": row.entry.manifest.digest,
                "mean_rank": row.mean_rank,
                "estimates": row.estimates,
                "known": row.known,
                "notes": list(row.notes),
            }
            for row in outcome.rows
        ],
        "agreement": [vars(agreement) for agreement in outcome.agreements],
    }
