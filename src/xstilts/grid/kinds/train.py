"""A training phase: a language adapter, an intermediate task, or a head for a target."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from xstilts.config.run import RunSpec
from xstilts.errors import DataError, NotFoundError, UsageError
from xstilts.files import digest
from xstilts.grid.cell import GridCell
from xstilts.grid.context import GridContext
from xstilts.grid.cost import Cost, CostModel
from xstilts.train.phases import Phase
from xstilts.train.plan import plan_phase
from xstilts.train.recipe_graph import stack
from xstilts.train.run import resolve_phase, train_phase


def run(cell: GridCell, context: GridContext) -> dict[str, Any]:
    """Train the module, or find it in the library.

    Raises:
        DataError: The rows or settings here are not those that were planned.
    """
    phase = phase_of(cell, context)
    if digest(phase.identity_values) != cell.job["inputs"]:
        raise DataError(
            f"what {cell.name} trains on here is not what was planned",
            hint="Use the same data and version everywhere, or plan again: xstilts grid run STUDY.",
        )
    entry = train_phase(phase)
    runs = {e.manifest.run: e.manifest.digest for e in context.workspace.zoo.entries()}
    every = phase.run.train.save_every
    last = int(entry.manifest.training["steps"])
    steps = {n: runs.get(phase.step_key(n)) for n in range(0, last + 1, every)} if every else {}
    return {
        "module": entry.manifest.digest,
        "reference": entry.reference,
        "steps": {str(step): found for step, found in steps.items() if found},
    }


def phase_of(cell: GridCell, context: GridContext, *, alone: bool = False) -> Phase:
    """The phase of a cell; with `alone` without what is below it, which need not be done then."""
    job = cell.job
    base = [] if alone else [context.module(part) for part in job["below"]]
    return resolve_phase(
        job["tasks"],
        RunSpec.model_validate(job["run"]),
        context.backbone(cell.backbone),
        context.workspace,
        base=stack(base),
        standalone=job["apart"],
        name=job["module"],
        command=context.command,
    )


def is_there(outcome: dict[str, Any], context: GridContext) -> bool:
    """Whether the module and its snapshots are in the library.

    Raises:
        LaterVersionError: A later version wrote one of them.
    """
    zoo, wanted = context.workspace.zoo, {outcome["module"], *outcome["steps"].values()}
    lacking = wanted - {entry.manifest.digest for entry in zoo.entries()}
    for module in lacking:
        with suppress(NotFoundError, UsageError):
            zoo.find(f"@{module}")  # says why a module that is there is no entry
    return not lacking


def cost(cell: GridCell, context: GridContext, costs: CostModel) -> Cost:
    """Steps from the rows, time from a short calibration; cells differ in their seed at no cost."""
    run = {**cell.job["run"], "train": {**cell.job["run"]["train"], "seed": 0}}
    alike = digest([cell.backbone, cell.job["tasks"], run, cell.job["apart"]])
    return costs.once(alike, lambda: _cost(cell, context, costs))


def _cost(cell: GridCell, context: GridContext, costs: CostModel) -> Cost:
    phase = phase_of(cell, context, alone=True)
    plan = plan_phase(phase)
    copies = 1 + (plan.steps // phase.run.train.save_every + 1 if phase.run.train.save_every else 0)
    seconds = costs.of_training(phase, plan)
    return Cost(plan.steps, seconds, plan.disk_bytes * copies)
