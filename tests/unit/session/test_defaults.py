"""Where backbone, data and own tasks come from: flags, environment, xstilts.toml, manifests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from support.models import encoder
from support.trained import add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.config.load import load_task, spec_names
from xstilts.data.several import joined_folder
from xstilts.errors import ConfigError, NotFoundError
from xstilts.session import DEFAULT_BACKBONE, Session
from xstilts.zoo import Zoo
from xstilts.zoo.backbones import known_backbones, remember_backbone

OWN = """
title: Own
format: classification
languages: [en]
labels: [a, b]
metric: accuracy
sources:
  - reader: jsonl
    files: {train: "own/{split}.jsonl", validation: "own/{split}.jsonl"}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("XSTILTS_BACKBONE", "XSTILTS_INCLUDE", "XSTILTS_DATA", "XSTILTS_ZOO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_the_backbone_is_told_once(home, monkeypatch):
    assert Session().backbone_default == (DEFAULT_BACKBONE, "default")
    (home / "home").mkdir()
    user = home / "home" / "xstilts.toml"
    user.write_text('backbone = "user"\n')
    assert Session().backbone_default == ("user", str(user))
    project = home / "work" / "xstilts.toml"
    project.write_text('backbone = "project"\n[train]\nlr = 1e-3\n')
    assert Session().backbone_default == ("project", str(project))
    monkeypatch.setenv("XSTILTS_BACKBONE", "environment")
    assert Session().backbone_default == ("environment", "XSTILTS_BACKBONE")
    assert Session(backbone="own").backbone_default == ("own", "session")


@pytest.mark.long
def test_settings_say_where_the_backbone_comes_from(home, monkeypatch, capsys):
    project = home / "work" / "xstilts.toml"
    project.write_text('backbone = "mbert"\n[train]\nlr = 0.25\n')

    def shown(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["--json", "config", "show", "mnli", *arguments])
        assert not caught.value.code
        record = json.loads(capsys.readouterr().out)
        assert record["settings"]["train"]["lr"] == 0.25
        return record["settings"]["backbone"], record["origins"]["backbone"]

    assert shown() == ("mbert", str(project))
    assert shown("--set", "backbone=other") == ("other", "--set")
    monkeypatch.setenv("XSTILTS_BACKBONE", "here")
    assert shown() == ("here", "XSTILTS_BACKBONE")


def test_every_command_takes_the_backbone_of_the_project(home, capsys):
    folder = backbone_folder(home / "pico")
    (home / "work" / "xstilts.toml").write_text(f'backbone = "{folder}"\n')
    zoo = Zoo(home / "zoo")
    add_module(zoo, Backbone.load(str(folder)), "mnli")
    with pytest.raises(SystemExit) as caught:
        main(["--zoo", str(home / "zoo"), "compose", "mnli", "--explain"])
    assert not caught.value.code
    assert "loading backbone" in capsys.readouterr().err


def two_backbones(home):
    """A zoo with a module of a backbone that is not the default one."""
    folder = backbone_folder(home / "pico")
    other = home / "other"
    other.mkdir()
    model = encoder(vocab_size=Backbone.load(str(folder)).identity.vocab_size, seed=9)
    model.save_pretrained(other)
    Backbone.load(str(folder)).tokenizer.save_pretrained(other)
    zoo = Zoo(home / "zoo")
    add_module(zoo, Backbone.load(str(other)), "mnli")
    return folder, other


def test_a_backbone_that_was_moved_is_the_one_that_is_named(home, monkeypatch):
    default, other = two_backbones(home)
    moved = other.rename(home / "work" / "moved")
    monkeypatch.setenv("XSTILTS_BACKBONE", str(moved))
    found = Session(zoo=home / "zoo").load("mnli").backbone.identity
    assert found.fingerprint == Backbone.load(str(moved)).identity.fingerprint
    monkeypatch.setenv("XSTILTS_BACKBONE", str(default))
    with pytest.raises(NotFoundError, match="not at hand"):
        Session(zoo=home / "zoo").load("mnli")
    monkeypatch.delenv("XSTILTS_BACKBONE")
    with pytest.raises(NotFoundError, match="not at hand"):
        Session(zoo=home / "zoo").load("mnli")
    (home / "work" / "xstilts.toml").write_text(f'backbone = "{moved}"\n')
    assert Session(zoo=home / "zoo").load("mnli").backbone.identity == found


def test_data_folders_of_the_project(home, monkeypatch):
    project = home / "work" / "xstilts.toml"
    project.write_text('data = ["one", "../two"]\n')
    assert Session().data_folders == [home / "work/one", home / "work/../two"]
    monkeypatch.setenv("XSTILTS_DATA", str(home / "three"))
    assert Session().data_folders == [home / "three"]
    monkeypatch.delenv("XSTILTS_DATA")
    project.write_text("data = 3\n")
    with pytest.raises(ConfigError, match="not a list"):
        _ = Session().data_folders


def test_a_module_brings_its_own_backbone(home, monkeypatch, capsys):
    default, other = two_backbones(home)
    monkeypatch.setenv("XSTILTS_BACKBONE", str(default))
    session = Session(zoo=home / "zoo")
    # the folder lies beside the zoo under its name
    asked = session.load("mnli")
    assert asked.backbone.identity.fingerprint == Backbone.load(str(other)).identity.fingerprint
    assert f"on which {asked.loaded.entries[0].reference} was trained: {other}" in (
        capsys.readouterr().err
    )
    assert asked.predict([("a man", "nobody")])[0].value in asked.head.task.labels


def test_a_backbone_that_moved_is_looked_for_and_named(home, monkeypatch):
    default, other = two_backbones(home)
    monkeypatch.setenv("XSTILTS_BACKBONE", str(default))
    away = home / "elsewhere" / "moved"
    away.parent.mkdir()
    other.rename(away)
    session = Session(zoo=home / "zoo", quiet=True)
    with pytest.raises(NotFoundError, match="'other'") as caught:
        session.load("mnli")
    assert f"{home / 'other'}" in caught.value.where
    assert "--backbone FOLDER" in caught.value.hint
    assert session.load("mnli", backbone=str(away)).head is not None
    remember_backbone(str(away), session.backbone(str(away)).identity.fingerprint)
    assert session.reference_for("mnli") == str(away)


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"a": 1}', b"\xff"])
def test_a_damaged_list_of_backbones_counts_as_empty(content, home, capsys):
    path = home / "home" / "backbones.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    (home / "base").mkdir()
    for _ in range(2):
        remember_backbone(str(home / "base"), "f" * 64)
    assert known_backbones() == {"f" * 64: str(home / "base")}
    assert capsys.readouterr().err.count("backbones.json is damaged") == 1


def test_own_tasks_are_found_by_name(home, monkeypatch):
    folder = home / "tasks"
    folder.mkdir()
    (folder / "own.yaml").write_text(OWN)
    with pytest.raises(NotFoundError):
        load_task("own")
    monkeypatch.setenv("XSTILTS_INCLUDE", str(folder))
    assert load_task("own").title == "Own"
    assert {"own", "mnli"} <= set(spec_names("tasks"))
    monkeypatch.delenv("XSTILTS_INCLUDE")
    (home / "work" / "xstilts.toml").write_text('include = ["../tasks"]\n')
    assert load_task("own").labels == ["a", "b"]
    (folder / "mnli.yaml").write_text(OWN)
    with pytest.raises(ConfigError, match=r"mnli\.yaml has it, too"):
        load_task("mnli")
    (home / "work" / "xstilts.toml").write_text('include = ["nowhere"]\n')
    with pytest.raises(NotFoundError, match="no folder"):
        load_task("mnli")
    (home / "work" / "xstilts.toml").write_text("include = 3\n")
    with pytest.raises(ConfigError, match="not a list"):
        load_task("mnli")


def test_include_on_the_command_line(home, monkeypatch, capsys):
    monkeypatch.setenv("XSTILTS_INCLUDE", "")  # so that what the command sets goes again
    folder = home / "tasks"
    folder.mkdir()
    (folder / "own.yaml").write_text(OWN)
    with pytest.raises(SystemExit) as caught:
        main(["--json", "--include", str(folder), "tasks", "show", "own"])
    assert not caught.value.code
    assert json.loads(capsys.readouterr().out)["title"] == "Own"


def test_several_data_folders_are_read_as_one(home):
    first, second = home / "first", home / "second"
    for folder, names in ((first, ("a/x", "a/y", "c")), (second, ("a/x", "a/z", "b/x"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{folder.name} {name}")
    joined = joined_folder([first, second], home / "cache")
    found = {
        str(path.relative_to(joined)): path.read_text()
        for name in ("a/x", "a/y", "a/z", "b/x", "c")
        for path in [joined / name]
    }
    assert found["a/x"] == "first a/x"
    assert found["a/z"] == "second a/z"
    assert (found["b/x"], found["c"]) == ("second b/x", "first c")
    assert joined_folder([first, second], home / "cache") == joined
    assert Session(data=[first, second]).data == joined
    assert Session(data=f"{first}{os.pathsep}{second}").data_folders == [first, second]
    assert Session(data=first).data == first
    assert Session(data=[second, first]).data_target == second
    with pytest.raises(NotFoundError, match="no data folder"):
        _ = Session(data=[first, home / "third"]).data


@pytest.mark.long
def test_the_first_sign_of_life_comes_before_anything_slow_is_imported(home):
    folder = backbone_folder(home / "pico")
    add_module(Zoo(home / "zoo"), Backbone.load(str(folder)), "mnli")
    command = ("predict", "mnli", "--text", "a man", "--text2", "nobody")
    places = ("--zoo", str(home / "zoo"), "--backbone", str(folder))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "xstilts", *command, *places],
        capture_output=True,
        text=True,
        check=True,
    )
    before, found, after = done.stderr.partition("loading backbone")
    assert found
    slow = re.compile(r"\| +(torch|transformers|datasets|pandas)$", re.M)
    assert not slow.findall(before)
    assert {"torch", "transformers"} <= set(slow.findall(after))
