"""The rows of a recipe or study: what is wrong with them, whatever the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from xstilts.composition.expression import references
from xstilts.composition.parser import parse, require_readable
from xstilts.config.load import short_name
from xstilts.config.specs import IntermediateSpec, RecipeSpec
from xstilts.errors import Problem, UsageError
from xstilts.zoo.manifest import require_name

NONE = "none"
LANGUAGE = "lang"
"""Language adapters are called `lang-<language>`."""


def trains(row: IntermediateSpec) -> bool:
    """Whether a row is a training, and not the plain backbone or composed of others."""
    return row.name != NONE and not row.compose


def row_problems(recipe: RecipeSpec) -> list[Problem]:
    """What is wrong with the rows, and names that are given twice; no data is looked at."""
    trained = [row.name for row in recipe.intermediates if trains(row)]
    problems = [
        Problem(f"intermediates.{row.name}", *wrong)
        for row in recipe.intermediates
        if (wrong := _wrong_in(row, trained))
    ]
    rows = [row.name for row in recipe.intermediates]
    for place, names in (
        ("intermediates", rows),
        ("targets", [short_name(target) for target in set(recipe.targets)]),
    ):
        problems += [
            Problem(f"{place}.{name}", f"{count} of them have this name.", "Rename all but one.")
            for name, count in sorted(Counter(names).items())
            if count > 1
        ]
    if recipe.language is not None:
        problems += [
            Problem(f"intermediates.{name}", "a language adapter may have this name.", "Rename it.")
            for name in rows
            if name.startswith(f"{LANGUAGE}-")
        ]
    return problems


def _wrong_in(row: IntermediateSpec, trained: Collection[str]) -> tuple[str, str] | None:
    """What is wrong with a row, and what to do."""
    idle = row.tasks or row.settings
    if row.name == NONE:
        wrong = "it is the plain backbone, so it trains nothing.", "Give the row another name."
        return wrong if idle or row.compose else None
    if row.compose and idle:
        return "it composes rows, so it trains nothing.", "Leave out its tasks and settings."
    try:
        if not row.compose:
            require_readable(row.name)
            return None
        require_name(row.name)  # it is part of the names of heads
        parts = [reference.name for reference in references(parse(row.compose))]
    except UsageError as error:
        return f"{error.what}.", error.hint
    other = [name for name in parts if name not in trained]
    if other or not parts:
        shown = f"'{other[0]}' is no row that trains." if other else "it composes no row."
        return shown, f"Those are {', '.join(trained)}."
    return None
