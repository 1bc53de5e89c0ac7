"""The command tree and the global options."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from xstilts.cli.renamed import modernise
from xstilts.cli.state import State
from xstilts.session import Session

app = typer.Typer(
    name="xstilts",
    help="Modular cross-lingual transfer: train, compose, evaluate and share modules for XLM-R.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_FLAGS = ("--json", "--quiet", "-q", "--offline", "--debug", "--dry-run", "--yes", "-y")
_VALUES = ("--world", "--data", "--include", "--zoo", "--results", "--device")
GROUPS = ("grid", "zoo", "data", "tasks", "recipes", "config", "ls")
"""Commands that have commands."""


def move_global_options(arguments: list[str]) -> list[str]:
    """Move global options to the front, so that they may stand anywhere before `--`.

    What follows them is put into today's words, with a note on stderr unless quiet.
    """
    front: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument == "--":
            rest += arguments[index:]
            break
        if argument in _FLAGS or argument.split("=", 1)[0] in _VALUES:
            front.append(argument)
            if argument in _VALUES and index + 1 < len(arguments):
                index += 1
                front.append(arguments[index])
        else:
            rest.append(argument)
        index += 1
    count = 2 if rest[:1] and rest[0] in GROUPS else 1
    rest, notes = modernise(rest[:count], rest[count:])
    if not {"-q", "--quiet"} & set(front):
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    return front + rest


def _version(wanted: bool) -> None:
    if wanted:
        print(f"xstilts {version('xstilts')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results only.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never open a socket.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Keep tracebacks.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    world: Annotated[
        str,
        typer.Option(
            "--world", help="`sandbox`, the built-in world; `sandbox:seed=3,noise.snli=1`."
        ),
    ] = "",
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Folder with original data files; repeat it for several."),
    ] = None,
    include: Annotated[
        list[Path] | None, typer.Option("--include", help="Folder of your own task YAMLs.")
    ] = None,
    zoo: Annotated[Path | None, typer.Option("--zoo", help="The module library.")] = None,
    results: Annotated[Path | None, typer.Option("--results", help="The result store.")] = None,
    device: Annotated[
        str, typer.Option("--device", help="Such as cpu, cuda:1 or mps; the best one when empty.")
    ] = "",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that every command takes; they may stand anywhere on the line."""
    del version, debug
    if offline:
        _go_offline()
    if include:  # in the environment, so that workers have it, too
        folders = [str(folder.absolute()) for folder in include]
        os.environ["XSTILTS_INCLUDE"] = os.pathsep.join(folders)
    session = Session(
        data=data,
        zoo=zoo,
        results=results,
        device=device,
        offline=offline,
        world=world,
        quiet=quiet,
    )
    context.obj = State(session, as_json, dry_run, yes)


def _go_offline() -> None:
    """Tell the hub libraries before they are imported: they read this only then."""
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[variable] = "1"


def _register() -> None:
    from xstilts.cli import (
        align_commands,
        bench_commands,
        compose_commands,
        data_commands,
        eval_commands,
        export_commands,
        grid_commands,
        info_commands,
        language_commands,
        list_commands,
        predict_commands,
        rank_commands,
        recipe_commands,
        report_commands,
        score_commands,
        search_commands,
        train_commands,
    )

    app.command("demo")(report_commands.demo)
    app.command("train-adapter")(train_commands.train_adapter)
    app.command("train")(train_commands.train)
    app.command("compose")(compose_commands.compose)
    app.command("search")(search_commands.search)
    app.command("run")(recipe_commands.run)
    app.add_typer(recipe_commands.app, name="recipes")
    app.add_typer(grid_commands.app, name="grid")
    app.command("eval")(eval_commands.evaluate)
    app.command("xtreme")(eval_commands.xtreme)
    app.command("align")(align_commands.align)
    app.command("export")(export_commands.export)
    app.command("rank")(rank_commands.rank)
    app.command("predict")(predict_commands.predict)
    app.command("score")(score_commands.score)
    app.command("report")(report_commands.report)
    _register_zoo()
    app.add_typer(data_commands.app, name="data")
    app.add_typer(info_commands.tasks_app, name="tasks")
    app.add_typer(list_commands.app, name="ls")
    app.add_typer(info_commands.config_app, name="config")
    app.command("languages")(language_commands.languages)
    app.command("bench")(bench_commands.bench)
    app.command("doctor")(info_commands.doctor)


def _register_zoo() -> None:
    from xstilts.cli import (
        export_commands,
        import_commands,
        share_commands,
        zoo_commands,
        zoo_listing,
    )

    zoo_commands.app.command("ls")(zoo_listing.list_modules)
    zoo_commands.app.command("search")(zoo_listing.search)
    zoo_commands.app.command("import")(import_commands.import_module)
    zoo_commands.app.command("export")(export_commands.export)
    for name in ("add", "pull", "push", "bundle"):
        zoo_commands.app.command(name)(getattr(share_commands, name))
    app.add_typer(zoo_commands.app, name="zoo")


_register()
