"""Every command that the help, the README and the docs show is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from xstilts.cli.app import command_tree, move_global_options

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND: Any = typer.main.get_command(command_tree())


def commands(group: Any, path: str = "xstilts") -> Iterator[tuple[str, Any]]:
    """Every command below a group, with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def shown_in_help() -> Iterator[str]:
    for path, command in commands(COMMAND):
        examples = re.findall(r"Example: (xstilts .*)", command.help or "")
        assert examples, f"the help of `{path}` shows no example"
        yield from examples


def shown_on(page: Path) -> Iterator[str]:
    """The commands in the blocks of a page, lines that go on joined."""
    for block in re.findall(r"```(?:bash|console|sh|)\n(.*?)```", page.read_text("utf-8"), re.S):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            text = line.strip().removeprefix("$ ")
            if text.startswith("xstilts "):
                yield text


def parse(text: str) -> Any:
    """What the command line makes of a command, not run, up to a pipe or redirection."""
    alone = re.split(r" (?:\||>|&&|2>) ", text)[0]
    words = move_global_options(shlex.split(alone, comments=True)[1:])
    command, context = COMMAND, COMMAND.make_context("xstilts", words)
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context


@pytest.mark.parametrize("text", sorted(shown_in_help()))
def test_an_example_of_the_help_is_taken(text):
    assert parse(text).command is not COMMAND


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_are_taken(page):
    for text in shown_on(page):
        try:
            context = parse(text)
        except Exception as error:
            pytest.fail(f"{text}: {type(error).__name__}: {error}")
        assert context.command is not COMMAND, text


def test_there_are_many_and_a_wrong_one_is_refused():
    assert sum(1 for page in PAGES for _ in shown_on(page)) > 50
    with pytest.raises(Exception, match="No such option"):
        parse("xstilts eval none --tasks xnli")


def test_each_example_of_the_help_stands_on_a_line_of_its_own():
    for path, command in commands(COMMAND):
        for paragraph in (command.help or "").split("\n\n"):  # whose lines are joined
            assert paragraph.count("Example:") <= 1, path
