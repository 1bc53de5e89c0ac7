"""The tour that `xstilts demo` takes through every layer, on the sandbox world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.backbone import Backbone
    from xstilts.evaluate.results import Score
    from xstilts.train.phases import Places


@dataclass(frozen=True)
class Stop:
    """One module of the tour: `task` trained as `method` on `below`, kept as `name`."""

    task: str
    method: str
    name: str
    below: str = "none"


MODULES = (
    Stop("mnli", "seq_bn", "mnli"),
    Stop("mnli", "lora", "mnli"),
    Stop("mnli", "full", "mnli"),
    Stop("qqp", "seq_bn", "qqp"),
    Stop("qqp", "lora", "qqp"),
)


def _on(expression: str, method: str, name: str) -> tuple[str, Stop]:
    return expression, Stop("mnli", method, name, expression)


TARGETS = (
    ("none", Stop("mnli", "head", "xnli-probe")),
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


def take_tour(state: State) -> list[Score]:
    """Train, compose and evaluate; everything done before is reused. Returns the score rows."""
    from xstilts.backbone import Backbone
    from xstilts.cli.eval_commands import run_requests
    from xstilts.cli.train_commands import places
    from xstilts.evaluate.suite import Request

    state.note(f"world: {state.sandbox.data.parent}")
    encoder = Backbone.load(state.backbone, offline=True)
    where = places(state)
    for stop in MODULES:
        _train(state, encoder, where, stop)
    requests = [Request(label, "xnli", label) for label in ALONE]
    for label, stop in TARGETS:
        digest = _train(state, encoder, where, stop)
        requests.append(Request("@" + digest, "xnli", label))
    labels = [*ALONE, *(label for label, _ in TARGETS)]
    requests += [Request(label, "tatoeba", label) for label in labels]
    outcome = run_requests(state, requests, state.backbone)
    state.note(f"{outcome.computed} cells computed, {len(outcome.cells) - outcome.computed} reused")
    return outcome.scores


def _train(state: State, encoder: Backbone, where: Places, stop: Stop) -> str:
    """Train one stop of the tour, or find it; returns its digest."""
    from xstilts.settings import resolve_run
    from xstilts.train.phases import Phase

    flags = {"method": stop.method, "backbone": state.backbone}
    world = state.training_defaults
    run = resolve_run(stop.task, flags, [], None, state.backbone, world).value
    phase = Phase(stop.task, run, encoder, where, below=stop.below, name=stop.name)
    known = where.zoo.find_run(phase.key)
    entry = phase.execute()
    verb = "found" if known else "trained"
    score = entry.manifest.training["dev_score"]
    state.note(f"{verb} {entry.reference}  dev {score:.1f}")
    return entry.manifest.digest
