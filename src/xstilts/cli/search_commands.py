"""`xstilts search`: weights that fit a few examples."""

from __future__ import annotations

from typing import Annotated

import typer

from xstilts.cli.options import BackboneOption
from xstilts.cli.state import State


def search(
    context: typer.Context,
    expression: Annotated[str, typer.Argument(help="With weights: average(mnli, qqp), a + b, …")],
    target: Annotated[str, typer.Option(help="Task whose dev examples judge.")],
    head: Annotated[str, typer.Option(help="Module whose head is used; empty: a part's.")] = "",
    budget: Annotated[int, typer.Option(help="Weights that are judged.")] = 60,
    shots: Annotated[int, typer.Option(help="Examples that they are judged on.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the proposals and of the examples.")] = 42,
    save: Annotated[str, typer.Option(help="Keep the best under this name.")] = "",
    backbone: BackboneOption = "",
) -> None:
    """Find the weights of a merge on a few dev examples; nothing is trained (LoraHub).

    Example: xstilts search "average(mnli/lora, qqp/lora)" --target xnli --save mixed
    """
    state: State = context.obj
    work = state.session.searching(
        expression,
        target,
        head=head,
        save=save,
        backbone=backbone,
        budget=budget,
        shots=shots,
        seed=seed,
    )
    if state.dry_run:
        plan = {
            "examples": len(work.rows),
            "budget": work.spec.budget,
            "head": work.head_entry.reference,
        }
        state.emit(plan, lambda: print("\n".join(f"{k}: {v}" for k, v in plan.items())))
        return
    found = state.session.run_search(work, save)
    (record,) = found.records()

    def human() -> None:
        print(f"{found.expression}")
        print(f"loss {found.loss:.4f} (as written {found.start_loss:.4f}), {found.judged} judged")
        if found.start_penalty:
            print(
                f"of both, penalty on large weights: {found.penalty:.4f} "
                f"(as written {found.start_penalty:.4f})"
            )
        if found.entry:
            print(found.entry.reference)

    state.emit(record, human)
