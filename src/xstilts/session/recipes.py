"""A recipe: its trainings, found or run, and the evaluation of what they made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xstilts.session.evaluating import Evaluating

if TYPE_CHECKING:
    from xstilts.report.results import RecipeResult
    from xstilts.train.recipe_graph import Graph
    from xstilts.train.recipes import RecipeRunner


class Recipes(Evaluating):
    """Whole pipelines from one file; see `Session`."""

    def run_recipe(self, recipe: str, *, backbone: str = "", **options: Any) -> RecipeResult:
        """Run a recipe: what was done before is reused, what is missing is trained and evaluated.

        Args:
            recipe: Name of one in `configs/recipes`, or path of a YAML.
            backbone: Preset, folder or `org/name@revision`; the session's when empty.
            options: See `recipe`.

        Raises:
            NotFoundError: There is no such recipe, row, target, task or backbone.
            ConfigError: The recipe has problems; all are listed.
        """
        runner, graph = self.recipe(recipe, backbone=backbone, **options)
        for number, (node, entry, known) in enumerate(runner.make(graph), 1):
            verb = "found" if known else "trained"
            self.note(f"[{number}/{len(graph.nodes)}] {verb} {node.kind} {entry.reference}")
        from xstilts.evaluate.request import Request, missing_lines
        from xstilts.report.results import RecipeResult

        requests = [
            Request(expression, evaluated.task, evaluated.label, languages=languages)
            for evaluated in graph.evaluated
            for languages, expression in runner.expressions(evaluated).items()
        ]
        outcome = self.run_requests(self.evaluator(backbone=backbone), requests).outcome
        return RecipeResult(outcome, (*graph.missing, *missing_lines(outcome.missing)))

    def plan_recipe(self, recipe: str, **options: Any) -> dict[str, Any]:
        """What `run_recipe` would train and how long it would take; nothing is written.

        Args:
            recipe: See `run_recipe`.
            options: See `recipe`, and `backbone`.
        """
        runner, graph = self.recipe(recipe, plan_only=True, **options)
        with self.progress("calibrating") as progress:
            return runner.plan(graph, progress)

    def recipe(
        self,
        recipe: str,
        *,
        backbone: str = "",
        intermediates: Sequence[str] = (),
        targets: Sequence[str] = (),
        seeds: Sequence[int] = (),
        command: str = "",
        plan_only: bool = False,
    ) -> tuple[RecipeRunner, Graph]:
        """A recipe spelled out on the data at hand, and what runs it.

        Args:
            recipe: See `run_recipe`.
            backbone: See `run_recipe`.
            intermediates: Only these rows; empty for all.
            targets: Only these; empty for all.
            seeds: Instead of the recipe's; empty for those.
            command: Shown to resume an interrupted training.
            plan_only: No weight of the backbone is loaded before it is needed.
        """
        self.note(f"recipe {recipe}")
        from xstilts.config.load import cut_down, load_recipe

        chosen = cut_down(
            load_recipe(recipe), intermediates=intermediates, targets=targets, seeds=seeds
        )
        self.require_writable("zoo", "results", "home", "cache")
        self.require_backbone(backbone)
        from xstilts.train.recipe_graph import spell_out
        from xstilts.train.recipes import RecipeRunner

        workspace = self.workspace()
        graph = spell_out(chosen, workspace, sandbox=bool(self.world))
        used = self.outlined_backbone(backbone) if plan_only else self.backbone(backbone)
        return RecipeRunner(chosen, used, workspace, self.training_defaults, command), graph
