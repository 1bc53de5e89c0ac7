"""Words of the command line that were called otherwise before 0.2: they work, with a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Renamed:
    """An old option.

    Attributes:
        commands: Where it was, such as `("grid run", "grid plan")`.
        old: With its dashes.
        new: What it is called now; empty when another command does what it asked for.
        command: That command.
        with_value: Whether a value that belonged to the old word goes with it.
    """

    commands: tuple[str, ...]
    old: str
    new: str = ""
    command: str = ""
    with_value: bool = False


_TRAINING = ("train", "train-adapter")
RENAMED = (
    Renamed(_TRAINING, "--on", "--stack-on"),
    Renamed(_TRAINING, "--source-lang", "--source-langs"),
    Renamed(("predict", "export", "zoo export", "data show", "zoo ls"), "--lang", "--langs"),
    Renamed(("zoo ls",), "--language", "--langs"),
    Renamed(("data translate",), "--to", "--langs"),
    Renamed(("run", "grid plan", "grid run"), "--rows", "--intermediates"),
    Renamed(("eval", "xtreme"), "--layer", "--layers"),
    Renamed(("eval",), "--set", "--task-option"),
    Renamed(("grid run",), "--set", "--engine-option"),
    Renamed(("grid run",), "--cell", "--cell", command="grid worker"),
    Renamed(("compose",), "--search", command="search", with_value=True),
)


def modernise(command: Sequence[str], arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Today's words for a command line, and a note for each old one.

    Args:
        command: The words of the command, such as `["grid", "run"]`.
        arguments: What follows them.
    """
    name = " ".join(command)
    found: list[str] = []
    notes: list[str] = []
    moved, waiting = name, False
    for place, argument in enumerate(arguments):
        if argument == "--":
            found += arguments[place:]
            break
        if waiting:
            waiting = False
            continue
        word, equals, value = argument.partition("=")
        old = next((r for r in RENAMED if name in r.commands and r.old == word), None)
        if old is None:
            found.append(argument)
            continue
        if old.command:
            moved = old.command
            note = f"`xstilts {name} {old.old}` is now `xstilts {old.command}`"
        else:
            note = f"{old.old} is now {old.new}"
        notes.append(f"{note}; the old word goes with the next release")
        if old.new:
            found.append(old.new + equals + value)
        waiting = old.with_value and not equals
    return [*moved.split(), *found], list(dict.fromkeys(notes))
