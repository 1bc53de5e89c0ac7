"""The words of the command line: old ones work with a note, help shows no stand-in values."""

from __future__ import annotations

import json
import re

import pytest
import typer

from xstilts.cli import main
from xstilts.cli.app import GROUPS, command_tree, move_global_options
from xstilts.cli.renamed import RENAMED


def commands(group=None, path=()):
    """Path and command of every command."""
    group = group or typer.main.get_command(command_tree())
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())
OPTIONS = {name: {o for p in c.params for o in p.opts} for name, c in COMMANDS.items()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train mnli --on x --source-lang=de", "train mnli --stack-on x --source-langs=de"),
        ("predict mnli --lang de", "predict mnli --langs de"),
        ("run quick --rows a", "run quick --intermediates a"),
        ("grid plan s --rows a,b", "grid plan s --intermediates a,b"),
        ("grid run s --set cluster=local", "grid run s --engine-option cluster=local"),
        ("grid run s --cell 3f --cell=4a", "grid worker s --cell 3f --cell=4a"),
        ("eval none --task t --set margin=ratio", "eval none --task t --task-option margin=ratio"),
        ("xtreme none --layer 7 --set train.lr=1", "xtreme none --layers 7 --set train.lr=1"),
        ("compose a+b --search dev --target t", "search a+b --target t"),
        ("compose a+b --search=dev --target t", "search a+b --target t"),
        ("data translate t --to de", "data translate t --langs de"),
        ("zoo ls --language sw", "zoo ls --langs sw"),
        ("grid answer s --to here", "grid answer s --to here"),
        ("predict m --text a -- --lang", "predict m --text a -- --lang"),
    ],
)
def test_old_words_mean_the_new_ones(old, new, capsys):
    assert move_global_options(old.split()) == new.split()
    notes = capsys.readouterr().err.splitlines()
    assert bool(notes) == (old != new)
    assert all(note.startswith("note: ") and "is now" in note for note in notes)
    assert len(notes) == len(set(notes))
    assert move_global_options(["-q", *old.split()]) == ["-q", *new.split()]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("word", RENAMED, ids=lambda word: f"{word.commands[0]} {word.old}")
def test_the_table_of_old_words_is_true(word):
    for name in word.commands:
        assert word.command or word.old not in OPTIONS[name]
        assert (word.new or "--help") in {*OPTIONS[word.command or name], "--help"}


def test_groups_are_the_commands_with_commands():
    assert set(GROUPS) == {name.split()[0] for name in COMMANDS if " " in name}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_default_stands_for_none(name):
    allowed = {"--draws"}  # 0 makes no comparisons
    for parameter in COMMANDS[name].params:
        sentinel = parameter.default in (-1, 0, "-1") and not isinstance(parameter.default, bool)
        share = isinstance(parameter.default, float)
        assert not sentinel or share or set(parameter.opts) & allowed, parameter.opts
        if parameter.opts[0] in ("--lang", "--language", "--languages"):
            raise AssertionError(f"{name} has {parameter.opts[0]}, not --langs")


def test_set_means_training_settings_only():
    assert {name for name in COMMANDS if "--set" in OPTIONS[name]} == {
        *("train", "train-adapter", "compose", "xtreme", "config show"),
    }


KINDS = [name.removeprefix("ls ") for name in COMMANDS if name.startswith("ls ")]


def test_the_kinds_of_things():
    wanted = "tasks methods operators backbones suites recipes studies languages metrics formats"
    assert set(KINDS) >= {*wanted.split(), "readers", "engines"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_listed(kind, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--json", "ls", kind])
    assert not caught.value.code
    records = json.loads(capsys.readouterr().out)
    assert len(records) > 1
    for record in records:
        assert any(isinstance(value, str) and re.search(r"\w", value) for value in record.values())


@pytest.mark.parametrize("name", sorted({path.split()[0] for path in COMMANDS}))
def test_only_the_command_that_is_called_is_built(name):
    called = typer.main.get_command(command_tree(["--data", "data", "-q", name, "--help"]))
    assert list(called.commands) == [name]


@pytest.mark.parametrize("line", ["", "--help", "--data data", "tasc show"])
def test_all_commands_are_there_where_none_is_called(line):
    called = typer.main.get_command(command_tree(line.split()))
    assert dict(commands(called)).keys() == COMMANDS.keys()
