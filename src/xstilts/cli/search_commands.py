"""`xstilts compose --search`: weights that fit a few examples."""

from __future__ import annotations

from dataclasses import dataclass

from xstilts.cli.state import State


@dataclass(frozen=True)
class SearchOptions:
    """What the command line says about a search."""

    target: str
    head: str
    budget: int
    shots: int
    seed: int
    backbone: str
    save: str


def search(state: State, expression: str, options: SearchOptions) -> None:
    """Search, print what was found, keep it with --save."""
    work = state.session.searching(
        expression,
        options.target,
        head=options.head,
        backbone=options.backbone,
        budget=options.budget,
        shots=options.shots,
        seed=options.seed,
    )
    if state.dry_run:
        plan = {
            "examples": len(work.rows),
            "budget": work.spec.budget,
            "head": work.head_entry.reference,
        }
        state.emit(plan, lambda: print("\n".join(f"{k}: {v}" for k, v in plan.items())))
        return
    found = state.session.run_search(work, options.save)
    (record,) = found.records()

    def human() -> None:
        print(f"{found.expression}")
        print(f"loss {found.loss:.4f} (as written {found.start_loss:.4f}), {found.judged} judged")
        if found.entry:
            print(found.entry.reference)

    state.emit(record, human)
