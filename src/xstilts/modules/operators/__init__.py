"""Operators: how modules are combined. The file name is the name in expressions.

Every operator file has `OPTIONS: dict[str, Option]`, its options with their defaults, and `ORDERED:
bool`, whether the order of its parts matters. It is one of two kinds:

A *weight operator* (`MERGES = True`) turns modules of one method into one module:

    combine(modules, weights, options, generator) -> ModuleWeights

A *site operator* (`MERGES = False`) computes with all of its parts at run time:

    LEARNS: bool                       whether it has parameters of its own
    at_site(site, parts, shape, options, generator) -> nn.Module
        What acts at `site`; `parts` are the parts' modules there, at least one. Its own parameters
        are in children whose name starts with `own`.

Both may refuse parts before any weight is loaded, by the options in their manifests:

    check(parts: Sequence[PartInfo]) -> None        raises `UsageError`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xstilts.config.registry import Registry

OPERATORS = Registry[Any]("xstilts.modules.operators", "operator", group="xstilts.operators")

Option = bool | float | str
"""The value of an operator's option."""


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What is known of an operand without its weights.

    Attributes:
        name: As written in the expression.
        method: The one method of all modules in it, or empty when it mixes methods.
        options: The options of the module; empty for a combination.
        merged: Whether it is one module, so that weight operators can take it.
    """

    name: str
    method: str
    options: Mapping[str, object]
    merged: bool
