"""Recipes: intermediate phases, target phases on top of each, and what is evaluated at the end.

Every phase is found again by its inputs, so that a recipe which was interrupted or changed runs
only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import check
from xstilts.composition.expression import map_references, references
from xstilts.composition.parser import parse
from xstilts.config.load import load_method, load_task, short_name, tasks_of, train_task_of
from xstilts.config.progress import ProgressFn, silent
from xstilts.config.run import RunSpec, resolve_run
from xstilts.config.specs import IntermediateSpec, RecipeSpec, SectionSpec, TaskSpec
from xstilts.data.sources import available_languages, task_in_world
from xstilts.errors import ConfigError, NotFoundError, Problem, UsageError
from xstilts.modules.operators import PartInfo
from xstilts.tasks.formats import FORMATS
from xstilts.train.parts import MLM
from xstilts.train.phases import Phase
from xstilts.train.plan import estimate, plan_phase
from xstilts.train.run import method_options, require_fit, resolve_phase, train_phase
from xstilts.zoo import Entry
from xstilts.zoo.workspace import Workspace

NONE = "none"
LANGUAGE = "lang"
"""Language adapters are called `lang-<language>`."""

TrainingDefaults = Mapping[str, Mapping[str, Any]]


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
    trained = {row.name: row for row in recipe.intermediates if _trains(row)}
    problems = [
        Problem(f"intermediates.{row.name}", *wrong)
        for row in recipe.intermediates
        if row.compose and (wrong := _wrong_in(row, trained))
    ]
    for place, names in (
        ("intermediates", [row.tasks or row.name for row in trained.values()]),
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


def _trains(row: IntermediateSpec) -> bool:
    return row.name != NONE and not row.compose


def _wrong_in(row: IntermediateSpec, trained: Collection[str]) -> tuple[str, str] | None:
    """What is wrong with a row that composes others, and what to do."""
    if row.tasks or row.settings or row.name == NONE:
        return "it composes rows, so it trains nothing", "Leave out its tasks and settings."
    try:
        parts = phases_of(row.compose)
    except UsageError as error:
        return error.what, error.hint
    other = [name for name in parts if name not in trained]
    if other or not parts:
        shown = f"'{other[0]}' is no row that trains" if other else "it composes no row"
        return shown, f"Those are {', '.join(trained)}."
    return None


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
        if not self.sandbox and target.name != target.train_task:
            flags["train"] = {**target.train, "max_length": target.max_length, **flags["train"]}
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


# -- running


class RecipeRunner:
    """Makes the phases of a graph, on one backbone.

    Args:
        recipe: Its language section decides whether modules are kept standalone.
        backbone: Loaded once.
        workspace: Where phases read and write.
        world: The world's training defaults, or None.
        command: Shown to resume.
    """

    def __init__(
        self,
        recipe: RecipeSpec,
        backbone: Backbone,
        workspace: Workspace,
        world: TrainingDefaults | None,
        command: str,
    ) -> None:
        self.recipe, self.backbone, self.workspace = recipe, backbone, workspace
        self.world, self.command = world, command
        self.made: dict[str, Entry] = {}

    def phase(self, node: Node, *, alone: bool = False) -> Phase:
        """The phase of a node; what is below it must be made, unless `alone`."""
        return resolve_phase(
            node.tasks,
            self._run(node),
            self.backbone,
            self.workspace,
            base=self._stack(() if alone else node.base),
            standalone=self.recipe.language is not None,
            name=node.name,
            command=self.command,
        )

    def _run(self, node: Node) -> RunSpec:
        name = self.backbone.identity.name
        return resolve_run(node.tasks, node.flags, [], None, name, self.world).value

    def make(self, graph: Graph) -> Iterator[tuple[Node, Entry, bool]]:
        """Run or find every phase; gives node, module and whether it was there already.

        Raises:
            UsageError: The backbone cannot have one of them; none has run then.
        """
        for node in graph.nodes:
            require_fit(node.tasks, self._run(node), self.backbone)
        for node in graph.nodes:
            phase = self.phase(node)
            known = self.workspace.zoo.find_run(phase.run_key)
            entry = known or train_phase(phase)
            self.made[node.id] = entry
            yield node, entry, known is not None

    def plan(self, graph: Graph, progress: ProgressFn = silent) -> dict[str, Any]:
        """Each phase with its steps, minutes and size on disk, and what the new ones come to.

        Speed is measured once for each method and task, on some steps of the first such phase.
        """
        speeds: dict[tuple[str, str], float] = {}
        phases = []
        for number, node in enumerate(graph.nodes):
            progress(node.id, number / len(graph.nodes))
            phases.append(self._planned(node, speeds))
        new = [phase for phase in phases if phase["state"] == "new"]
        return {
            "phases": phases,
            "minutes": sum(phase["minutes"] for phase in new),
            "disk_mb": sum(phase["MB"] for phase in new),
            "evaluations": len(graph.evaluated),
            "missing": list(graph.missing),
        }

    def _planned(self, node: Node, speeds: dict[tuple[str, str], float]) -> dict[str, Any]:
        """One phase; what is below it counts only when it is there already."""
        ready = all(key in self.made for part in node.base for key in phases_of(part))
        phase = self.phase(node, alone=not ready)
        plan = plan_phase(phase)
        known = plan.known if ready else None
        if known:
            self.made[node.id] = known
        kind = (phase.run.method, node.tasks)
        if kind not in speeds:
            speeds[kind] = estimate(phase, plan, seconds=1.0).tokens_per_second
        return {
            "phase": node.id,
            "kind": node.kind,
            "rows": plan.rows,
            "steps": plan.steps,
            "trained numbers": plan.trainable_parameters,
            "minutes": round(plan.tokens / speeds[kind] / 60, 1),
            "MB": round(plan.disk_bytes / 1e6, 1),
            "state": "found" if known else "new",
        }

    def expressions(self, evaluated: Evaluated) -> dict[tuple[str, ...], str]:
        """What is evaluated on which languages, modules by digest; no language means all."""
        groups = parts_by_language(self.recipe, evaluated)
        return {codes: self._stack(parts) for codes, parts in groups.items()}

    def _stack(self, parts: Sequence[str]) -> str:
        return stack([with_phases(part, self._pinned) for part in parts])

    def _pinned(self, key: str) -> str:
        return "@" + self.made[key].manifest.digest


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
