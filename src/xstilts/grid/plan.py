"""From a study to its cells: what is shared is there once, and each cell knows its parents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from xstilts.config.load import located, short_name
from xstilts.config.progress import ProgressFn
from xstilts.config.specs import RecipeSpec
from xstilts.data.once import read_once
from xstilts.errors import IntegrityError, LaterVersionError, NotFoundError, OfflineError
from xstilts.evaluate import score_rows
from xstilts.evaluate.cells import SKIPPED, Inputs
from xstilts.evaluate.request import Request, missing_lines
from xstilts.files import digest
from xstilts.grid.cell import GridCell, shown_backbones
from xstilts.grid.context import GridContext
from xstilts.grid.cost import Cost, CostModel
from xstilts.grid.kinds import KINDS
from xstilts.grid.spec import StudySpec
from xstilts.grid.state import PlannedStudy, Status
from xstilts.tasks.formats import FORMATS
from xstilts.train.recipe_graph import (
    Evaluated,
    Graph,
    Node,
    parts_by_language,
    phases_below,
    phases_of,
    spell_out,
    with_phases,
)
from xstilts.train.recipes import RecipeRunner

CODE_VERSION = 1
"""Raised when the same cell gives another outcome."""


def plan_study(study: StudySpec, context: GridContext, progress: ProgressFn) -> PlannedStudy:
    """The cells of a study on the data at hand; rows are read, so that each hash covers them.

    What has no data, and languages that a backbone cannot read, are left out and named in
    `missing`.

    Raises:
        ConfigError: A task, mixture or target is unknown; all problems are listed.
        NotFoundError: There is no data for anything.
    """
    cells: dict[str, GridCell] = {}
    missing: list[str] = []
    for name in study.backbones or [""]:
        made = _Planning(study, name, context, progress)
        with read_once():
            made.add_all()
        cells |= made.cells
        missing += made.missing
    if not cells:
        raise NotFoundError(
            f"study {study.name}: there is no data for anything in it",
            where="; ".join(dict.fromkeys(missing)),
            hint="Name the folder with the tasks' files: --data.",
        )
    # scores know a task by its short name, which is what an answer is read off by
    shown = {key: [*map(short_name, getattr(study, key))] for key in ("targets", "alignment")}
    spec = {**study.model_dump(), **shown}
    return PlannedStudy(study.name, spec, tuple(cells.values()), tuple(dict.fromkeys(missing)))


def by_target(graph: Graph, recipe: RecipeSpec) -> list[Node | Evaluated]:
    """The phases and evaluations of a graph: seed by seed, target by target, row by row.

    Each phase stands right before the first evaluation that needs it, so that a study which is
    stopped has whole columns of its table.
    """
    nodes = {node.id: node for node in graph.nodes}
    ordered: list[Node | Evaluated] = []

    def add(key: str) -> None:
        node = nodes.pop(key, None)
        if node is not None:
            for part in node.base:
                for base in phases_of(part):
                    add(base)
            ordered.append(node)

    def place(evaluated: Evaluated) -> tuple[int, int]:
        return recipe.seeds.index(evaluated.seed), recipe.targets.index(evaluated.task)

    for evaluated in sorted(graph.evaluated, key=place):
        for key in phases_below(recipe, evaluated):
            add(key)
        ordered.append(evaluated)
    for key in list(nodes):  # what no evaluation needs, such as that of a target without data
        add(key)
    return ordered


@dataclass
class _Planning:
    """The cells of a study on one backbone."""

    study: StudySpec
    backbone: str
    context: GridContext
    progress: ProgressFn
    cells: dict[str, GridCell] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)
    read: dict[tuple[str, tuple[str, ...]], list[Inputs]] = field(default_factory=dict)

    def add_all(self) -> None:
        recipe, workspace = self.study.recipe(), self.context.workspace
        graph = spell_out(recipe, workspace, sandbox=self.context.world is not None)
        encoder = self.context.backbone(self.backbone)
        self.missing += graph.missing
        runner = RecipeRunner(recipe, encoder, workspace, self.context.world, "")
        steps = by_target(graph, recipe)
        for number, step in enumerate(steps):
            shown = step.id if isinstance(step, Node) else f"{step.label} on {step.task}"
            self.progress(shown, number / len(steps))
            if isinstance(step, Node):
                self._add_training(step, runner)
                continue
            if all(key in self.nodes for key in phases_below(recipe, step)):
                self._add_evaluation(step, runner)

    def _add_training(self, node: Node, runner: RecipeRunner) -> None:
        below = dict.fromkeys(key for part in node.base for key in phases_of(part))
        if any(key not in self.nodes for key in below):
            return
        try:
            phase = runner.phase(node, alone=True)
        except (NotFoundError, OfflineError) as error:
            self.missing.append(f"{node.name}: {error.what}")
            return
        base, parents = self._cells_of(node.base), [self.nodes[key] for key in below]
        job = {
            "tasks": located(node.tasks),
            "run": phase.run.model_dump(),
            "apart": phase.standalone,
            "module": phase.name,
            "below": base,
            "inputs": digest(phase.identity_values),
        }
        identity = {"inputs": phase.identity_values, "below": base}
        self.nodes[node.id] = self._add("train", node.id, parents, job, identity)

    def _cells_of(self, parts: Sequence[str]) -> list[str]:
        """Parts with the keys of their cells in place of their phases."""
        return [with_phases(part, self.nodes.__getitem__) for part in parts]

    def _add_evaluation(self, evaluated: Evaluated, runner: RecipeRunner) -> None:
        encoder = self.context.backbone(self.backbone)
        recipe = runner.recipe
        groups = [
            {"languages": list(codes), "parts": self._cells_of(parts)}
            for codes, parts in parts_by_language(recipe, evaluated).items()
        ]
        needed = phases_below(recipe, evaluated)
        parents = list(dict.fromkeys(self.nodes[key] for key in needed))
        codes = tuple(code for group in groups for code in group["languages"])
        alignment = evaluated.task in self.study.alignment
        found = self._inputs(evaluated.task, codes, alignment)
        task = found[0].job.task
        job = {
            "task": task.name,
            "label": evaluated.label,
            "groups": groups,
            "layers": self._layers(task.format, len(encoder.blocks)),
            "blocks": len(encoder.blocks),
            "data": {inputs.job.language: list(inputs.digests) for inputs in found},
            "rows": {inputs.job.language: inputs.rows for inputs in found},
        }
        if alignment:
            job |= {"alignment": score_rows.ALIGNMENT_VERSION, "curve": self.study.curve}
        identity = {
            "version": score_rows.VERSION,
            "task": task.identity_values(),
            "backbone": encoder.identity.key,
            "tokenizer": encoder.tokenization,
            **job,
        }
        # Where its YAML is and how long it takes are no part of the identity.
        job["reference"] = located(evaluated.task)
        job["tokens"] = sum(inputs.tokens for inputs in found)
        job["models"] = self._models(groups[0]["parts"]) if self.study.curve else 1
        seeds = f"/{evaluated.seed}" if parents else ""
        self._add("evaluate", f"{evaluated.label}{seeds} on {task.name}", parents, job, identity)

    def _models(self, parts: Sequence[str]) -> int:
        """How many models of a curve may differ: start, snapshots, and the end if it is none."""
        if not parts or parts[-1] not in self.cells:
            return 1
        train = self.cells[parts[-1]].job["run"]["train"]
        every = train["save_every"]
        return 1 + -(-train["max_steps"] // every) if every else 1

    def _inputs(self, task: str, codes: tuple[str, ...], alignment: bool) -> list[Inputs]:
        """What a task is evaluated on; read once for all models."""
        if (task, codes) not in self.read:
            evaluation = self.context.evaluation(self.backbone)
            request = Request("none", task, languages=codes, alignment=alignment)
            self.read[task, codes], missing = evaluation.inputs(request)
            unread = {name: why for name, why in missing.items() if why.startswith(SKIPPED)}
            self.missing += [line + self._of_several for line in missing_lines(unread)]
        return self.read[task, codes]

    @property
    def _of_several(self) -> str:
        """The backbone, where a study has several, as it stands after a name."""
        names = self.study.backbones
        return f" ({shown_backbones(names)[self.backbone]})" if len(names) > 1 else ""

    def _layers(self, kind: str, blocks: int) -> list[int]:
        """The blocks that retrieval pools; -1 is the backbone's own, or none at all."""
        if not self.study.depths or FORMATS.get(kind).NEEDS_HEAD:
            return [-1]
        return sorted(self.study.layers_at(blocks))

    def _add(
        self, kind: str, name: str, parents: Sequence[str], job: dict[str, Any], identity: Any
    ) -> str:
        key = digest({"code": CODE_VERSION, "kind": kind, "identity": identity})
        shown = name + self._of_several
        self.cells.setdefault(key, GridCell(key, kind, shown, self.backbone, tuple(parents), job))
        return key


# -- what a plan will take


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a plan, with what it will take; `cost` is None where nothing is to be done."""

    cell: GridCell
    status: Status
    cost: Cost | None


def estimate(
    planned: PlannedStudy, context: GridContext, progress: ProgressFn
) -> list[PlannedCell]:
    """Each cell's status and what it will take."""
    statuses = context.folder.statuses(planned.cells)
    costs = CostModel(context.store, context.workspace.cache)
    lines = []
    with read_once():
        for number, cell in enumerate(planned.cells):
            progress(cell.name, number / len(planned.cells))
            status = statuses[cell.key]
            done = status == "done"
            cost = None if done else KINDS.get(cell.kind).cost(cell, context, costs)
            lines.append(PlannedCell(cell, status, cost))
    return lines


def drop_lost(planned: PlannedStudy, context: GridContext) -> list[GridCell]:
    """Take back the marks of cells whose outcome is gone: removed, or its record is damaged.

    Raises:
        LaterVersionError: A later version wrote an outcome, whose mark stays.
    """
    folder = context.folder
    gone: dict[str, GridCell] = {}
    for cell in planned.cells:
        try:
            outcome = folder.outcome(cell.key)
            there = outcome is None or KINDS.get(cell.kind).is_there(outcome, context)
        except LaterVersionError:
            raise
        except (IntegrityError, KeyError, TypeError):  # what it names cannot be read, or not found
            there = False
        if not there:
            gone[cell.key] = cell
            folder.forget(cell.key)
    return list(gone.values())
