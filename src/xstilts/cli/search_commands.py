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


def search(state: State, expression: str, options: SearchOptions) -> str:
    """Search, print what was found, keep it with --save; the expression with its weights."""
    from xstilts.backbone.backbone import Backbone
    from xstilts.cli.training import device, workspace_of
    from xstilts.config.progress import progress_bar
    from xstilts.train.search import Search, SearchSpec
    from xstilts.train.search.keeping import keep

    spec = SearchSpec(budget=options.budget, shots=options.shots, seed=options.seed)
    encoder = Backbone.load(options.backbone or state.backbone, offline=state.offline)
    workspace = workspace_of(state)
    work = Search(expression, options.target, options.head, encoder.to(device()), workspace, spec)
    if state.dry_run:
        plan = {
            "examples": len(work.rows),
            "budget": spec.budget,
            "head": work.head_entry.reference,
        }
        state.emit(plan, lambda: print("\n".join(f"{k}: {v}" for k, v in plan.items())))
        return ""
    with progress_bar("searching", quiet=state.quiet) as progress:
        found = work.run(progress)
    entry = keep(work, found, options.save) if options.save else None
    record = {
        "expression": str(found.expression),
        "loss": found.loss,
        "start_loss": found.start,
        "judged": found.judged,
        "examples": len(work.rows),
        "reference": entry.reference if entry else "",
    }

    def human() -> None:
        print(f"{found.expression}")
        print(f"loss {found.loss:.4f} (as written {found.start:.4f}), {found.judged} judged")
        if entry:
            print(entry.reference)

    state.emit(record, human)
    return str(found.expression)
