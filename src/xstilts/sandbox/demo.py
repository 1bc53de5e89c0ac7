"""What `xstilts demo` trains, composes and evaluates: a tour through every layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DemoModule:
    """One module of the tour: `task` trained as `method` on `base`, kept as `name`."""

    task: str
    method: str
    name: str
    base: str = "none"


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


def tour(train: Callable[[DemoModule], str]) -> list[tuple[str, str, str]]:
    """Train what the tour needs; expression, task and label of what is to be evaluated.

    Args:
        train: Trains a module, or finds it; its digest.
    """
    pinned = {f"{module.name}/{module.method}": f"@{train(module)}" for module in MODULES}

    def of_these(expression: str) -> str:
        for name, reference in pinned.items():
            expression = expression.replace(name, reference)
        return expression

    alone = [(of_these(label), "xnli", label) for label in ALONE]
    targets = [
        (f"@{train(replace(module, base=of_these(module.base)))}", "xnli", label)
        for label, module in TARGETS
    ]
    labels = (*ALONE, *(label for label, _ in TARGETS))
    return [*alone, *targets, *((of_these(label), "tatoeba", label) for label in labels)]
