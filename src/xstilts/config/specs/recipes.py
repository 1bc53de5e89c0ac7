"""Recipes: phases from a pretrained encoder to evaluated targets."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from xstilts.config.specs.base import Seeds, Spec


class SectionSpec(Spec):
    """How one kind of phase of a recipe is run: settings over those of task and method.

    Attributes:
        method: Method preset.
        by_task: Task or mixture to settings of its own, over the others.
    """

    method: str = "full"
    options: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    mlm: dict[str, Any] = Field(default_factory=dict)
    by_task: dict[str, dict[str, Any]] = Field(default_factory=dict)


class IntermediateSpec(Spec):
    """One row of a recipe's table: what is trained, or composed, before the targets.

    Attributes:
        name: Of the row and of its module; `none` trains nothing.
        tasks: A task, a mixture, or tasks joined by commas; the name when empty.
        compose: In place of training, an expression of rows that train, such as
            `average(mnli, qqp)`: of each seed its own modules.
        settings: Over those of the recipe's section, such as `{mlm: {share: 0.1}}`.
    """

    name: str
    tasks: str = ""
    compose: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)


class RecipeSpec(Spec):
    """Phases from a pretrained encoder to evaluated targets. One YAML in `configs/recipes`.

    Attributes:
        intermediates: The rows of the table.
        targets: The columns: tasks.
        intermediate: How the first are trained.
        target: How heads for targets are trained; retrieval needs none.
        language: How a language adapter is trained for each language with text; None for none.
            It acts below everything else and is swapped by language at evaluation (MAD-X).
        seeds: The whole is run once for each.
        sandbox: Section name to what replaces that section's settings in the sandbox world.
        note: What of it comes from a paper and what was chosen here.
    """

    name: str
    title: str = ""
    intermediates: list[IntermediateSpec]
    targets: list[str] = Field(min_length=1)
    intermediate: SectionSpec = Field(default_factory=SectionSpec)
    target: SectionSpec = Field(default_factory=SectionSpec)
    language: SectionSpec | None = None
    seeds: Seeds = Field(default=[42])
    sandbox: dict[str, SectionSpec] = Field(default_factory=dict)
    citation: str = ""
    note: str = ""
