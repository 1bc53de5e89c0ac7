"""The command tree and the global options."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from xstilts.cli.renamed import modernise
from xstilts.cli.state import State
from xstilts.session import Session

COMMANDS = {
    "demo": "report_commands:demo",
    "train-adapter": "train_commands:train_adapter",
    "train": "train_commands:train",
    "compose": "compose_commands:compose",
    "search": "search_commands:search",
    "run": "recipe_commands:run",
    "eval": "eval_commands:evaluate",
    "xtreme": "eval_commands:xtreme",
    "align": "align_commands:align",
    "export": "export_commands:export",
    "rank": "rank_commands:rank",
    "predict": "predict_commands:predict",
    "score": "score_commands:score",
    "report": "report_commands:report",
    "languages": "language_commands:languages",
    "bench": "bench_commands:bench",
    "doctor": "info_commands:doctor",
}
"""Commands, as the help lists them, to file and function."""
GROUPS = {
    "recipes": "recipe_commands:app",
    "grid": "grid_commands:app",
    "zoo": "zoo_commands:app",
    "data": "data_commands:app",
    "tasks": "info_commands:tasks_app",
    "ls": "list_commands:app",
    "config": "info_commands:config_app",
}
"""Commands that have commands."""

_FLAGS = ("--json", "--quiet", "-q", "--offline", "--debug", "--dry-run", "--yes", "-y")
_VALUES = ("--world", "--data", "--include", "--zoo", "--results", "--device")


def move_global_options(arguments: list[str]) -> list[str]:
    """Move global options to the front, so that they may stand anywhere before `--`.

    What follows them is put into today's words, with a note on stderr unless quiet.
    """
    given, rest = _split(arguments)
    front = [word for option in given for word in option]
    count = 2 if rest[:1] and rest[0] in GROUPS else 1
    rest, notes = modernise(rest[:count], rest[count:])
    if not {"-q", "--quiet"} & set(front):
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    return front + rest


def shared_options(arguments: Sequence[str]) -> list[str]:
    """The global options that every command on the same data and results needs, as given."""
    given, _ = _split(arguments)
    kept = ("--offline", *_VALUES)
    return [word for option in given if option[0].split("=")[0] in kept for word in option]


def _split(arguments: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The global options before `--`, each as its one or two words, and all the rest."""
    given, rest = [], []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in _FLAGS or word.split("=", 1)[0] in _VALUES:
            given.append([word, *islice(words, int(word in _VALUES))])
        else:
            rest.append(word)
    return given, rest


def _version(wanted: bool) -> None:
    if wanted:
        print(f"xstilts {version('xstilts')}")
        raise typer.Exit


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


def command_tree(arguments: Sequence[str] = ()) -> typer.Typer:
    """The commands, or only the one that is called: reading all of them takes a third of a second.

    Args:
        arguments: Of the command line, global options first; all commands where they name none.
    """
    called, words = "", iter(arguments)
    for word in words:
        if word in _VALUES:
            next(words, None)
        elif not word.startswith("-"):
            called = word
            break
    known = {called} if called in {*COMMANDS, *GROUPS} else {*COMMANDS, *GROUPS}
    tree = typer.Typer(
        name="xstilts",
        help="Modular cross-lingual transfer: train, compose, evaluate and share modules.",
        callback=options,
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in (name for name in COMMANDS if name in known):
        tree.command(name)(_named(COMMANDS[name]))
    for name in (name for name in GROUPS if name in known):
        tree.add_typer(_named(GROUPS[name]), name=name)
    return tree


def _named(place: str) -> Any:
    file, _, name = place.partition(":")
    return getattr(import_module(f"xstilts.cli.{file}"), name)
