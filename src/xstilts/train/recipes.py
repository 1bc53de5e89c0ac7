"""Runs the phases of a recipe.

Every phase is found again by its inputs, so that a recipe which was interrupted or changed runs
only what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xstilts.backbone.backbone import Backbone
from xstilts.config.progress import ProgressFn, silent
from xstilts.config.run import RunSpec, resolve_run
from xstilts.config.specs import RecipeSpec
from xstilts.train.phases import Phase
from xstilts.train.plan import estimate, plan_phase
from xstilts.train.recipe_graph import (
    Evaluated,
    Graph,
    Node,
    parts_by_language,
    phases_of,
    stack,
    with_phases,
)
from xstilts.train.run import require_fit, resolve_phase, train_phase
from xstilts.zoo import Entry
from xstilts.zoo.workspace import Workspace

TrainingDefaults = Mapping[str, Mapping[str, Any]]


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
