"""The tour that `xstilts demo` takes through every layer, on the sandbox world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.backbone.backbone import Backbone
    from xstilts.evaluate.evaluator import Request
    from xstilts.evaluate.store import Score
    from xstilts.zoo.workspace import Workspace


@dataclass(frozen=True)
class DemoModule:
    """One module of the tour: `task` trained as `method` on `below`, kept as `name`."""

    task: str
    method: str
    name: str
    below: str = "none"


MODULES = (
    DemoModule("mnli", "seq_bn", "mnli"),
    DemoModule("mnli", "lora", "mnli"),
    DemoModule("mnli", "full", "mnli"),
    DemoModule("qqp", "seq_bn", "qqp"),
    DemoModule("qqp", "lora", "qqp"),
)


def _on(expression: str, method: str, name: str) -> tuple[str, DemoModule]:
    return expression, DemoModule("mnli", method, name, expression)


TARGETS = (
    ("none", DemoModule("mnli", "head", "xnli-probe")),
    _on("qqp/seq_bn", "seq_bn", "xnli-on-qqp"),
    _on("stack(qqp/seq_bn, mnli/seq_bn)", "head", "xnli-stack"),
    _on("average(mnli/seq_bn, qqp/seq_bn)", "head", "xnli-average"),
    _on("average(mnli/lora, qqp/lora)", "head", "xnli-average-lora"),
    _on("merge_ties(mnli/lora, qqp/lora)", "head", "xnli-ties-lora"),
    _on("fuse(mnli/seq_bn, qqp/seq_bn)", "head", "xnli-fused"),
    _on("fuse(mnli/lora, qqp/lora)", "head", "xnli-fused-lora"),
)
ALONE = ("mnli/seq_bn", "mnli/lora", "mnli/full")
"""Modules whose own head serves XNLI."""


def run_demo(state: State, seeds: Sequence[int]) -> list[Score]:
    """Train, compose and evaluate, once a seed; what was done before is reused. The score rows."""
    from xstilts.cli.eval_commands import encoder_of, evaluator_of, run_requests
    from xstilts.cli.training import workspace_of

    state.note(f"world: {state.sandbox.data.parent}")
    encoder = encoder_of(state, state.backbone)
    workspace = workspace_of(state)
    requests: list[Request] = []
    for seed in seeds:
        made = _requests(state, encoder, workspace, seed)
        requests += [request for request in made if request not in requests]
    outcome = run_requests(state, evaluator_of(state), requests)
    state.note(f"{outcome.computed} cells computed, {len(outcome.cells) - outcome.computed} reused")
    return outcome.scores


def _requests(state: State, encoder: Backbone, workspace: Workspace, seed: int) -> list[Request]:
    """Train what the tour needs of one seed; what is to be evaluated."""
    from xstilts.evaluate.evaluator import Request

    pinned = {}
    for stop in MODULES:
        digest = _train(state, encoder, workspace, stop, seed)
        pinned[f"{stop.name}/{stop.method}"] = f"@{digest}"

    def of_this_seed(expression: str) -> str:
        for name, reference in pinned.items():
            expression = expression.replace(name, reference)
        return expression

    requests = [Request(of_this_seed(label), "xnli", label) for label in ALONE]
    for label, stop in TARGETS:
        over = replace(stop, below=of_this_seed(stop.below))
        requests.append(Request("@" + _train(state, encoder, workspace, over, seed), "xnli", label))
    labels = [*ALONE, *(label for label, _ in TARGETS)]
    return requests + [Request(of_this_seed(label), "tatoeba", label) for label in labels]


def _train(
    state: State, encoder: Backbone, workspace: Workspace, stop: DemoModule, seed: int
) -> str:
    """Train one stop of the tour, or find it; returns its digest."""
    from xstilts.config.run import resolve_run
    from xstilts.train.phases import Phase
    from xstilts.train.run import train_phase

    flags = {"method": stop.method, "backbone": state.backbone, "train": {"seed": seed}}
    world = state.training_defaults
    run = resolve_run(stop.task, flags, [], None, state.backbone, world).value
    phase = Phase(stop.task, run, encoder, workspace, below=stop.below, name=stop.name)
    known = workspace.zoo.find_run(phase.key)
    entry = train_phase(phase)
    verb = "found" if known else "trained"
    score = entry.manifest.training["dev_score"]
    state.note(f"{verb} {entry.reference}  seed {seed}  dev {score:.1f}")
    return entry.manifest.digest
