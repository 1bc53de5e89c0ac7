"""`xstilts recipes` and `xstilts run`: the whole pipeline from one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xstilts.cli.options import BackboneOption
from xstilts.cli.state import State, split_commas
from xstilts.cli.training import seed_numbers, shown_command

app = typer.Typer(help="Recipes: from an encoder to evaluated targets.", no_args_is_help=True)
_COLUMNS = ("phase", "kind", "rows", "steps", "trained numbers", "minutes", "MB", "state")
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
    backbone: BackboneOption = "",
    intermediates: Annotated[str, typer.Option(help="Only these, comma-separated.")] = "",
    targets: Annotated[str, typer.Option(help="Only these targets, comma-separated.")] = "",
    seeds: Annotated[str, typer.Option(help="Other seeds, comma-separated.")] = "",
) -> None:
    """Run a recipe: what was done before is reused, what is missing is trained and evaluated.

    Example: xstilts run quick --world sandbox
    """
    state: State = context.obj
    options: dict[str, Any] = {
        "backbone": backbone,
        "intermediates": split_commas(intermediates),
        "targets": split_commas(targets),
        "seeds": seed_numbers(seeds) if seeds else (),
        "command": shown_command(),
    }
    if state.dry_run:
        _print_plan(state, state.session.plan_recipe(recipe, **options))
        return
    result = state.session.run_recipe(recipe, **options)
    record = {
        "schema": "xstilts.scores/1",
        "computed": result.outcome.computed,
        "missing": list(result.missing),
        "scores": result.records(),
    }

    def human() -> None:
        (view,) = result.views()
        state.table(view.columns, view.rows, view.title)
        for text in result.missing:
            state.note(f"missing: {text}")

    state.emit(record, human)


def _print_plan(state: State, record: dict[str, Any]) -> None:
    phases = record["phases"]
    new = sum(phase["state"] == "new" for phase in phases)

    def human() -> None:
        state.table(_COLUMNS, [tuple(phase[name] for name in _COLUMNS) for phase in phases])
        print(
            f"{new} of {len(phases)} phases to run: about {record['minutes']:.0f} minutes of "
            f"training, {record['disk_mb']:.0f} MB; {record['evaluations']} evaluations"
        )
        for text in record["missing"]:
            print(f"missing: {text}")

    state.emit(record, human)
