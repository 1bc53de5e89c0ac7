"""Recipes spelled out: which phases run, on top of what, and what is evaluated at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xstilts.composition.compose import check
from xstilts.composition.expression import map_references, references
from xstilts.composition.parser import parse
from xstilts.config.load import load_method, load_task, short_name, tasks_of, train_task_of
from xstilts.config.run import resolve_run, target_defaults
from xstilts.config.specs import IntermediateSpec, RecipeSpec, SectionSpec, TaskSpec
from xstilts.data.sources import available_languages, task_in_world
from xstilts.errors import ConfigError, NotFoundError, Problem
from xstilts.modules.operators import PartInfo
from xstilts.tasks.formats import FORMATS
from xstilts.train.parts import MLM
from xstilts.train.recipe_rows import LANGUAGE, NONE, row_problems, trains
from xstilts.train.run import method_options
from xstilts.zoo.workspace import Workspace


@dataclass(frozen=True)
class Node:
    """One phase of a recipe.

    Attributes:
        id: Unique in the recipe.
        kind: `language`, `intermediate` or `target`.
        tasks: What it trains on.
        base: What acts below it, nearest to the backbone first: phases, or expressions of them
            (`phases_of`).
        name: Of its module.
        flags: Its settings.
    """

    id: str
    kind: str
    tasks: str
    base: tuple[str, ...]
    name: str
    flags: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """One expression on one target: the phases, or expressions of them, that it is a stack of."""

    label: str
    task: str
    parts: tuple[str, ...]
    languages: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Graph:
    """A recipe spelled out: phases in an order in which they can run, then evaluations."""

    nodes: Sequence[Node]
    evaluated: Sequence[Evaluated]
    missing: Sequence[str] = field(default_factory=tuple)


def spell_out(recipe: RecipeSpec, workspace: Workspace, *, sandbox: bool) -> Graph:
    """The phases and evaluations of a recipe on the data at hand.

    Raises:
        ConfigError: A task, mixture or target is unknown; all problems are listed.
        NotFoundError: Language adapters are asked for and there is no text.
    """
    _check(recipe)
    made = _Spelling(recipe, workspace, sandbox)
    for seed in recipe.seeds:
        made.add_languages(seed)
        for row in recipe.intermediates:
            made.add_row(row, seed)
    return Graph(list(made.nodes.values()), made.evaluated, made.missing)


def _check(recipe: RecipeSpec) -> None:
    problems = row_problems(recipe)
    for place, names in (
        ("intermediates", [row.tasks or row.name for row in recipe.intermediates if trains(row)]),
        ("targets", recipe.targets),
    ):
        for name in names:
            try:
                for task in tasks_of(name):
                    load_task(task)
            except NotFoundError as error:
                problems.append(Problem(place, error.what, error.hint))
    if problems:
        raise ConfigError(f"recipe {recipe.name}", problems)


class _Spelling:
    """Collects the nodes of a recipe; a node that is there already is not added again."""

    def __init__(self, recipe: RecipeSpec, workspace: Workspace, sandbox: bool) -> None:
        self.recipe, self.workspace, self.sandbox = recipe, workspace, sandbox
        self.nodes: dict[str, Node] = {}
        self.evaluated: list[Evaluated] = []
        self.missing: list[str] = []
        self.languages: list[str] = []

    def section(self, name: str) -> SectionSpec:
        own = {"intermediate": self.recipe.intermediate, "target": self.recipe.target}
        section = own.get(name) or self.recipe.language or SectionSpec()
        if not self.sandbox:
            return section
        return self.recipe.sandbox.get(name, SectionSpec(method=section.method))

    def add_languages(self, seed: int) -> None:
        if self.recipe.language is None:
            return
        task = task_in_world(load_task(MLM), self.workspace.data)
        self.languages = available_languages(task, "train", self.workspace.data)
        if not self.languages:
            raise NotFoundError(
                "language adapters need text, and there is none",
                hint="Put mlm/<language>.txt files below the data folder.",
            )
        for code in self.languages:
            flags = _flags(self.section("language"), MLM, seed)
            flags["mlm"] = {**flags.get("mlm", {}), "languages": [code]}
            self._add(
                Node(f"{LANGUAGE}-{code}/{seed}", "language", MLM, (), f"{LANGUAGE}-{code}", flags)
            )

    def add_row(self, row: IntermediateSpec, seed: int) -> None:
        base = self._source_language(seed)
        own: tuple[str, ...] = ()
        if row.compose:
            own = (self._composed(row, base, seed),)
        elif row.name != NONE:
            own = (self._add(self._intermediate(row, base, seed)),)
        for target in self.recipe.targets:
            self._add_target(row, target, base, own, seed)

    def _intermediate(self, row: IntermediateSpec, base: tuple[str, ...], seed: int) -> Node:
        tasks = row.tasks or row.name
        flags = _merged(_flags(self.section("intermediate"), tasks, seed), row.settings)
        return Node(f"{row.name}/{seed}", "intermediate", tasks, base, row.name, flags)

    def _composed(self, row: IntermediateSpec, base: tuple[str, ...], seed: int) -> str:
        """What a row composes, of the phases of one seed, which are added.

        Raises:
            UsageError: They do not go together.
        """
        rows = {other.name: other for other in self.recipe.intermediates}
        infos = {}
        for name in phases_of(row.compose):
            node = self._intermediate(rows[name], base, seed)
            run = resolve_run(node.tasks, node.flags, [], None, "", None).value
            options = method_options(run).model_dump()
            infos[name] = PartInfo(name, load_method(run.method).method, options, merged=True)
            self._add(node)
        check(parse(row.compose), infos)
        return with_phases(row.compose, lambda name: f"{name}/{seed}")

    def _add_target(
        self,
        row: IntermediateSpec,
        target: str,
        base: tuple[str, ...],
        own: tuple[str, ...],
        seed: int,
    ) -> None:
        spec = task_in_world(load_task(target), self.workspace.data)
        languages = available_languages(spec, spec.eval_split, self.workspace.data)
        if not languages:
            self.missing.append(f"{spec.name}: no data")
            return
        parts = own
        if FORMATS.get(spec.format).NEEDS_HEAD:
            trained = train_task_of(target)
            flags = self._target_flags(spec, trained, seed)
            short = short_name(trained)
            name, identity = f"{short}-after-{row.name}", f"{short}/{row.name}/{seed}"
            node = Node(identity, "target", trained, (*base, *own), name, flags)
            parts = (*own, self._add(node))
        chosen = tuple(code for code in languages if code in self.languages)
        left_out = [code for code in languages if self.languages and code not in chosen]
        if left_out:
            self.missing.append(f"{spec.name}: no language adapter for {', '.join(left_out)}")
        self.evaluated.append(Evaluated(row.name, target, parts, chosen, seed))

    def _target_flags(self, target: TaskSpec, trained: str, seed: int) -> dict[str, Any]:
        """Settings of the target phase; the target's own defaults come before the section's."""
        flags = _flags(self.section("target"), trained, seed)
        if not self.sandbox:
            flags["train"] = {**target_defaults(target), **flags["train"]}
        return flags

    def _source_language(self, seed: int) -> tuple[str, ...]:
        if self.recipe.language is None:
            return ()
        task = task_in_world(load_task(MLM), self.workspace.data)
        return (f"{LANGUAGE}-{task.source_language}/{seed}",)

    def _add(self, node: Node) -> str:
        self.nodes.setdefault(node.id, node)
        return node.id


def _flags(section: SectionSpec, tasks: str, seed: int) -> dict[str, Any]:
    values = section.model_dump(exclude={"by_task"}, exclude_defaults=True)
    flags = _merged(
        {"method": section.method, **values},
        section.by_task.get(short_name(tasks), section.by_task.get(tasks, {})),
    )
    flags["train"] = {**flags.get("train", {}), "seed": seed}
    return flags


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result


def parts_by_language(
    recipe: RecipeSpec, evaluated: Evaluated
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Languages to the phases, or expressions of them, that act, nearest to the backbone first.

    No language means all. A module that is not standalone brings what is below it.
    """
    if recipe.language is None:
        return {(): evaluated.parts[-1:]}
    return {
        (code,): (f"{LANGUAGE}-{code}/{evaluated.seed}", *evaluated.parts)
        for code in evaluated.languages
    }


def phases_below(recipe: RecipeSpec, evaluated: Evaluated) -> Iterator[str]:
    """The ids of the phases that an evaluation needs."""
    for parts in parts_by_language(recipe, evaluated).values():
        for part in parts:
            yield from phases_of(part)


def phases_of(part: str) -> list[str]:
    """The names in an expression, from left to right: of phases here, of cells in a grid.

    Raises:
        UsageError: It does not follow the grammar.
    """
    return [reference.name for reference in references(parse(part))]


def with_phases(part: str, change: Callable[[str], str]) -> str:
    """An expression with other names, such as modules by digest in place of their phases."""
    return str(map_references(parse(part), change))


def stack(parts: Sequence[str]) -> str:
    """An expression in which parts act one after the other."""
    if not parts:
        return NONE
    return parts[0] if len(parts) == 1 else f"stack({', '.join(parts)})"
