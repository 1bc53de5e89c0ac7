"""`xstilts ls`: what there is, of every kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

from xstilts.cli.info_commands import list_tasks
from xstilts.cli.language_commands import languages
from xstilts.cli.recipe_commands import ls as list_recipes
from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.config.registry import Registry

app = typer.Typer(no_args_is_help=True, help="What there is: tasks, methods, operators, …")
app.command("tasks")(list_tasks)
app.command("languages")(languages)
app.command("recipes")(list_recipes)


@app.command("methods")
def methods(context: typer.Context) -> None:
    """The method presets, and what each is made of.

    Example: xstilts ls methods
    """
    from xstilts.config.load import load_method, spec_names

    specs = [load_method(name) for name in spec_names("methods")]
    _show(context, ("preset", "method", "title"), ((s.name, s.method, s.title) for s in specs))


@app.command("backbones")
def backbones(context: typer.Context) -> None:
    """The backbone presets; a folder or org/name@revision does as well.

    Example: xstilts ls backbones
    """
    from xstilts.config.load import load_backbone_spec, spec_names

    specs = [load_backbone_spec(name) for name in spec_names("backbones")]
    columns = ("backbone", "repository", "longest input", "retrieval layer", "licence", "title")
    rows = ((s.name, s.repo, s.max_length, s.retrieval_layer, s.license, s.title) for s in specs)
    _show(context, columns, rows)


@app.command("suites")
def suites(context: typer.Context) -> None:
    """The suites of tasks.

    Example: xstilts ls suites
    """
    from xstilts.config.load import load_suite, spec_names

    specs = [load_suite(name) for name in spec_names("suites")]
    _show(context, ("suite", "tasks", "title"), ((s.name, len(s.tasks), s.title) for s in specs))


@app.command("studies")
def studies(context: typer.Context) -> None:
    """The shipped studies, for `xstilts grid`.

    Example: xstilts ls studies
    """
    from xstilts.config.load import spec_names
    from xstilts.grid.spec import load_study

    sandbox = bool(context.obj.session.world)
    specs = [load_study(name, sandbox=sandbox) for name in spec_names("studies")]
    rows = ((s.name, len(s.intermediates), len(s.targets), s.title) for s in specs)
    _show(context, ("study", "intermediates", "targets", "title"), rows)


@app.command("operators")
def operators(context: typer.Context) -> None:
    """What combines modules in an expression.

    Example: xstilts ls operators
    """
    from xstilts.modules.operators import OPERATORS

    _implementations(context, OPERATORS)


@app.command("formats")
def formats(context: typer.Context) -> None:
    """The formats of tasks.

    Example: xstilts ls formats
    """
    from xstilts.tasks.formats import FORMATS

    _implementations(context, FORMATS)


@app.command("metrics")
def metrics(context: typer.Context) -> None:
    """The metrics.

    Example: xstilts ls metrics
    """
    from xstilts.tasks.metrics import METRICS

    _implementations(context, METRICS)


@app.command("readers")
def readers(context: typer.Context) -> None:
    """What reads data files.

    Example: xstilts ls readers
    """
    from xstilts.data.readers import READERS

    _implementations(context, READERS)


@app.command("hubs")
def hubs(context: typer.Context) -> None:
    """Where modules are shared.

    Example: xstilts ls hubs
    """
    from xstilts.zoo.hubs import HUBS

    _implementations(context, HUBS)


@app.command("engines")
def engines(context: typer.Context) -> None:
    """Where the workers of a study run.

    Example: xstilts ls engines
    """
    from xstilts.grid.engines import ENGINES

    _implementations(context, ENGINES)


def _implementations(context: typer.Context, registry: Registry[Any]) -> None:
    """Name, first line of the docstring, and the package that it comes from."""
    rows = [
        (
            name,
            (registry.get(name).__doc__ or "").strip().partition("\n")[0],
            registry.origin(name).package,
        )
        for name in registry
    ]
    _show(context, (registry.kind, "what it is", "package"), rows)


def _show(
    context: typer.Context, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]
) -> None:
    from xstilts.cli.output import table

    state: State = context.obj
    listed = list(rows)
    records = [dict(zip(columns, row, strict=True)) for row in listed]
    state.emit(records, lambda: state.console.print(table(columns, listed)))
