"""What `xstilts demo` trains, composes and evaluates: modules of each kind, and compositions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DemoModule:
    """One module of the demo: `task` trained as `method` on `base`, kept as `name`."""

    task: str
    method: str
    name: str
    base: str = "none"

    @property
    def reference(self) -> str:
        """What the expressions of the demo call it."""
        return f"{self.name}/{self.method}"


MODULES = (
    DemoModule("mnli", "full", "mnli"),
    DemoModule("mnli", "lora", "mnli"),
    DemoModule("qqp", "lora", "qqp"),
    DemoModule("mnli", "seq_bn", "mnli"),
    DemoModule("qqp", "seq_bn", "qqp"),
)
"""What takes longest comes first, so that processes that share them end together."""


def _on(expression: str, method: str, name: str) -> tuple[str, DemoModule]:
    return expression, DemoModule("mnli", method, name, expression)


TARGETS = dict(
    [
        ("none", DemoModule("mnli", "head", "xnli-probe")),
        _on("qqp/seq_bn", "seq_bn", "xnli-on-qqp"),
        _on("fuse(mnli/seq_bn, qqp/seq_bn)", "head", "xnli-fused"),
        _on("fuse(mnli/lora, qqp/lora)", "head", "xnli-fused-lora"),
        _on("stack(qqp/seq_bn, mnli/seq_bn)", "head", "xnli-stack"),
        _on("average(mnli/seq_bn, qqp/seq_bn)", "head", "xnli-average"),
        _on("average(mnli/lora, qqp/lora)", "head", "xnli-average-lora"),
        _on("merge_ties(mnli/lora, qqp/lora)", "head", "xnli-ties-lora"),
    ]
)
"""Label to the module that gives it a head for XNLI; what takes longest comes first here too."""
ALONE = ("mnli/seq_bn", "mnli/lora", "mnli/full")
"""Modules whose own head serves XNLI."""


def filled(expression: str, made: Mapping[str, str]) -> str | None:
    """The expression with references to the very modules in it; None while one is not made.

    Args:
        expression: Of the demo.
        made: `DemoModule.reference` to the reference in the zoo.
    """
    for module in MODULES:
        if module.reference in expression:
            if module.reference not in made:
                return None
            expression = expression.replace(module.reference, made[module.reference])
    return expression


def evaluated(made: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Expression, task and label of what is evaluated once everything is made."""
    alone = [(made[label], "xnli", label) for label in ALONE]
    targets = [(made[module.reference], "xnli", label) for label, module in TARGETS.items()]
    labels = (*ALONE, *TARGETS)
    return [*alone, *targets, *((filled(label, made) or "", "tatoeba", label) for label in labels)]
