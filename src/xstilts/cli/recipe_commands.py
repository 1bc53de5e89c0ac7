"""`xstilts recipes` and `xstilts run`: the whole pipeline from one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State
from xstilts.cli.training import seed_numbers, shown_command

if TYPE_CHECKING:
    from xstilts.config.specs import RecipeSpec
    from xstilts.evaluate.evaluator import Request
    from xstilts.evaluate.store import Score
    from xstilts.train.plan import Plan
    from xstilts.train.recipes import Graph, Node, RecipeRunner

app = typer.Typer(help="Recipes: from an encoder to evaluated targets.", no_args_is_help=True)
Recipe = Annotated[str, typer.Argument(help="A recipe (`xstilts recipes ls`) or its YAML.")]


@app.command("ls")
def ls(context: typer.Context) -> None:
    """The shipped recipes.

    Example: xstilts recipes ls
    """
    from xstilts.config.load import load_recipe, spec_names

    state: State = context.obj
    rows = []
    for name in spec_names("recipes"):
        recipe = load_recipe(name)
        counts = f"{len(recipe.intermediates)} x {len(recipe.targets)}"
        rows.append((name, counts, recipe.intermediate.method, recipe.title))
    columns = ("recipe", "intermediates x targets", "method", "title")
    state.show(columns, rows)


@app.command("cat")
def cat(context: typer.Context, recipe: Recipe) -> None:
    """Print a recipe's YAML.

    Example: xstilts recipes cat x-stilts
    """
    state: State = context.obj
    text = _path(recipe).read_text(encoding="utf-8")
    state.emit({"recipe": recipe, "yaml": text}, lambda: print(text, end=""))


@app.command("cp")
def cp(
    context: typer.Context,
    recipe: Recipe,
    to: Annotated[Path, typer.Argument(help="A new file, such as mine.yaml.")],
) -> None:
    """Copy a recipe to a file of your own.

    Example: xstilts recipes cp quick mine.yaml
    """
    from xstilts.errors import UsageError
    from xstilts.files import write_text

    state: State = context.obj
    state.refuse_dry_run("recipes cp")
    if to.exists():
        raise UsageError(f"{to} is there already", hint="Choose another name.")
    write_text(to, _path(recipe).read_text(encoding="utf-8"))
    state.emit({"recipe": recipe, "file": str(to)}, lambda: print(to))


def _path(recipe: str) -> Path:
    from xstilts.config.load import load_recipe, spec_path

    load_recipe(recipe)
    return spec_path("recipes", "recipe", recipe)


def run(
    context: typer.Context,
    recipe: Recipe,
    backbone: Annotated[str, typer.Option(help="Preset, folder or org/name@revision.")] = "",
    intermediates: Annotated[str, typer.Option(help="Only these, comma-separated.")] = "",
    targets: Annotated[str, typer.Option(help="Only these targets, comma-separated.")] = "",
    seeds: Annotated[str, typer.Option(help="Other seeds, comma-separated.")] = "",
) -> None:
    """Run a recipe: what was done before is reused, what is missing is trained and evaluated.

    Example: xstilts run quick --world sandbox
    """
    state: State = context.obj
    state.note(f"recipe {recipe}")
    from xstilts.config.load import load_recipe

    chosen = _chosen(load_recipe(recipe), intermediates, targets, seeds)
    state.session.require_writable("zoo", "results", "home", "cache")
    state.session.require_backbone(backbone)
    from xstilts.evaluate.request import missing_lines
    from xstilts.train.recipes import RecipeRunner, spell_out

    workspace = state.session.workspace()
    graph = spell_out(chosen, workspace, sandbox=bool(state.session.world))
    session = state.session
    runner = RecipeRunner(
        chosen,
        session.outlined_backbone(backbone) if state.dry_run else session.backbone(backbone),
        workspace,
        session.training_defaults,
        shown_command(),
    )
    if state.dry_run:
        _print_plan(state, graph, runner)
        return
    for number, (node, entry, known) in enumerate(runner.make(graph), 1):
        state.note(
            f"[{number}/{len(graph.nodes)}] {'found' if known else 'trained'} {node.kind} "
            f"{entry.reference}"
        )
    found = session.run_requests(session.evaluator(backbone=backbone), _requests(graph, runner))
    lacking = [*graph.missing, *missing_lines(found.outcome.missing)]
    _print_scores(state, found.scores, found.outcome.computed, lacking)


def _chosen(recipe: RecipeSpec, intermediates: str, targets: str, seeds: str) -> RecipeSpec:
    """The recipe cut down to what the command line names."""
    from xstilts.config.load import short_name
    from xstilts.errors import NotFoundError

    update: dict[str, Any] = {}
    if intermediates:
        names = {row.name: row for row in recipe.intermediates}
        for name in intermediates.split(","):
            if name not in names:
                raise NotFoundError.named(f"intermediate of recipe {recipe.name}", name, names)
        update["intermediates"] = [names[name] for name in intermediates.split(",")]
    if targets:
        own = {short_name(target): target for target in recipe.targets}
        for name in targets.split(","):
            if short_name(name) not in own:
                raise NotFoundError.named(f"target of recipe {recipe.name}", name, own)
        update["targets"] = [own[short_name(name)] for name in targets.split(",")]
    if seeds:
        update["seeds"] = seed_numbers(seeds)
    return recipe.model_copy(update=update)


def _requests(graph: Graph, runner: RecipeRunner) -> list[Request]:
    from xstilts.evaluate.evaluator import Request

    return [
        Request(expression, evaluated.task, evaluated.label, languages=languages)
        for evaluated in graph.evaluated
        for languages, expression in runner.expressions(evaluated).items()
    ]


def _print_scores(state: State, scores: list[Score], computed: int, missing: Sequence[str]) -> None:
    from xstilts.report.tables import main_table

    view = main_table(scores)
    record = {
        "schema": "xstilts.scores/1",
        "computed": computed,
        "missing": list(missing),
        "scores": [score.model_dump() for score in scores],
    }

    def human() -> None:
        state.table(view.columns, view.rows, view.title)
        for text in missing:
            state.note(f"missing: {text}")

    state.emit(record, human)


def _print_plan(state: State, graph: Graph, runner: RecipeRunner) -> None:
    """Phases with steps, time and disk; one calibration for each method and task."""
    rows = []
    speeds: dict[tuple[str, str], float] = {}
    with state.session.progress("calibrating") as progress:
        for number, node in enumerate(graph.nodes):
            progress(node.id, number / len(graph.nodes))
            rows.append(_plan_row(runner, node, speeds))
    new = [row for row in rows if row[-1] == "new"]
    columns = ("phase", "kind", "rows", "steps", "trained numbers", "minutes", "MB", "state")
    record = {
        "phases": [dict(zip(columns, row, strict=True)) for row in rows],
        "minutes": sum(row[5] for row in new),
        "disk_mb": sum(row[6] for row in new),
        "evaluations": len(graph.evaluated),
        "missing": list(graph.missing),
    }

    def human() -> None:
        state.table(columns, rows)
        print(
            f"{len(new)} of {len(rows)} phases to run: about {record['minutes']:.0f} minutes of "
            f"training, {record['disk_mb']:.0f} MB; {len(graph.evaluated)} evaluations"
        )
        for text in graph.missing:
            print(f"missing: {text}")

    state.emit(record, human)


def _plan_row(
    runner: RecipeRunner, node: Node, speeds: dict[tuple[str, str], float]
) -> tuple[str, str, int, int, int, float, float, str]:
    """One phase; what is below it counts only when it is there already."""
    from xstilts.train.plan import estimate, plan_phase

    ready = all(key in runner.made for key in node.below)
    phase = runner.phase(node, alone=not ready)
    plan: Plan = plan_phase(phase)
    if ready and plan.known:
        runner.made[node.id] = plan.known
    kind = (phase.run.method, node.tasks)
    if kind not in speeds:
        speeds[kind] = estimate(phase, plan, seconds=1.0).tokens_per_second
    minutes = round(plan.tokens / speeds[kind] / 60, 1)
    known = "found" if ready and plan.known else "new"
    return (
        node.id,
        node.kind,
        plan.rows,
        plan.steps,
        plan.trainable_parameters,
        minutes,
        round(plan.disk_bytes / 1e6, 1),
        known,
    )
