"""`xstilts ls`: what there is, of every kind."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from xstilts.cli.info_commands import list_tasks
from xstilts.cli.language_commands import languages
from xstilts.cli.recipe_commands import ls as list_recipes

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
    context.obj.show(("preset", "method", "title"), ((s.name, s.method, s.title) for s in specs))


@app.command("backbones")
def backbones(context: typer.Context) -> None:
    """The backbone presets; a folder or org/name@revision does as well.

    Example: xstilts ls backbones
    """
    from xstilts.config.load import load_backbone_spec, spec_names

    specs = [load_backbone_spec(name) for name in spec_names("backbones")]
    columns = ("backbone", "repository", "revision", "longest input", "retrieval layer")
    rows = [
        (s.name, s.repo, s.pinned or "not pinned", s.max_length, s.retrieval_layer, s.license)
        for s in specs
    ]
    titled = ((*row, s.title) for row, s in zip(rows, specs, strict=True))
    context.obj.show((*columns, "licence", "title"), titled)


@app.command("suites")
def suites(context: typer.Context) -> None:
    """The suites of tasks.

    Example: xstilts ls suites
    """
    from xstilts.config.load import load_suite, spec_names

    specs = [load_suite(name) for name in spec_names("suites")]
    context.obj.show(("suite", "tasks", "title"), ((s.name, len(s.tasks), s.title) for s in specs))


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
    context.obj.show(("study", "intermediates", "targets", "title"), rows)


REGISTRIES = {
    "operators": ("xstilts.modules.operators", "What combines modules in an expression."),
    "formats": ("xstilts.tasks.formats", "The formats of tasks."),
    "metrics": ("xstilts.tasks.metrics", "The metrics."),
    "readers": ("xstilts.data.readers", "What reads data files."),
    "hubs": ("xstilts.zoo.hubs", "Where modules are shared."),
    "engines": ("xstilts.grid.engines", "Where the workers of a study run."),
}
"""Kind of implementation to the package that has them, and what is said of the kind."""


def _register(kind: str, package: str, about: str) -> None:
    @app.command(kind, help=f"{about}\n\nExample: xstilts ls {kind}")
    def implementations(context: typer.Context) -> None:
        _implementations(context, getattr(import_module(package), kind.upper()))


for _kind, _said in REGISTRIES.items():
    _register(_kind, *_said)


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
    context.obj.show((registry.kind, "what it is", "package"), rows)
