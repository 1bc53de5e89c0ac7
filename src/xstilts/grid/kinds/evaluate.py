"""One model on one task, all languages in one cell; each language keeps its own scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xstilts.evaluate.alignment.snapshots import snapshot_label
from xstilts.evaluate.evaluator import Evaluator
from xstilts.evaluate.request import Request
from xstilts.grid.cell import GridCell
from xstilts.grid.context import GridContext
from xstilts.grid.cost import Cost, CostModel
from xstilts.train.recipe_graph import stack


def run(cell: GridCell, context: GridContext) -> dict[str, Any]:
    """Evaluate what is missing; the outcome names the result cells, one a language and layer."""
    evaluation: Evaluator = context.evaluation(cell.backbone)
    outcome = evaluation.run(requests(cell, context), lambda _text, _share: None)
    return {"cells": [found.key for found in outcome.cells], "missing": list(outcome.missing)}


def requests(cell: GridCell, context: GridContext) -> list[Request]:
    """What is evaluated; the modules of the parents by their digests."""
    job = cell.job
    return [
        Request(
            expression,
            job.get("reference", job["task"]),
            label,
            languages=tuple(group["languages"]),
            layer=layer,
            alignment="alignment" in job,
        )
        for group in job["groups"]
        for label, expression in _expressions(cell, group["parts"], context)
        for layer in job["layers"]
    ]


def _expressions(
    cell: GridCell, parts: Sequence[str], context: GridContext
) -> list[tuple[str, str]]:
    """(label, expression): the stack of the parts, for a curve after the snapshots of the last."""
    job, modules = cell.job, [context.module(part) for part in parts]
    trained = job.get("curve") and parts and parts[-1] in cell.parents
    steps = context.outcome(parts[-1])["steps"] if trained else {}
    kept = [
        (snapshot_label(job["label"], int(step)), stack([*modules[:-1], f"@{found}"]))
        for step, found in sorted(steps.items(), key=lambda item: int(item[0]))
    ]
    return [*kept, (job["label"], stack(modules))]


def is_there(outcome: dict[str, Any], context: GridContext) -> bool:
    """Whether every result is in the store."""
    return all(context.store.get(key) is not None for key in outcome["cells"])


def cost(cell: GridCell, context: GridContext, costs: CostModel) -> Cost:
    """Time from earlier results of the task on the backbone, else from the speed of its encoder."""
    job = cell.job
    results = len(job["data"]) * len(job["layers"]) * job["models"]
    deepest = max(job["layers"])
    depth = deepest / job["blocks"] if deepest >= 0 else 1.0
    tokens = round(job["tokens"] * job["models"] * depth)
    backbone = context.backbone(cell.backbone)
    seconds = costs.of_evaluation(backbone, job["task"], results, tokens)
    return Cost(0, seconds, sum(job["rows"].values()) * 100 * job["models"])
