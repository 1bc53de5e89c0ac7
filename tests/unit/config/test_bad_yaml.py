"""Broken YAML given to every command that takes one: the file is named, the exit code is 2 or 4."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from xstilts.cli import main
from xstilts.config import layers
from xstilts.config.load import load_task
from xstilts.errors import ConfigError, UsageError
from xstilts.grid.engines import chosen_engine
from xstilts.sandbox import chosen_world

BROKEN = {
    "web page": b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
    "binary": b"\0\1\2\xff\xfe",
    "nothing": b"",
    "a list": b"- 1\n- 2\n",
    "latin-1": b"title: caf\xe9\n",
    "tabs": b"title:\n\tx: 1\n",
    "a repeated key": b"title: a\ntitle: b\n",
    "no end of nesting": b"title: " + b"[" * 600,
    "a Python object": b"!!python/object/apply:os.system ['true']\n",
    "a folder": None,
}
COMMANDS = {
    "task": ["tasks", "show", "{}"],
    "data": ["data", "show", "{}"],
    "recipe": ["run", "{}"],
    "study": ["grid", "plan", "{}"],
    "settings": ["config", "show", "--config", "{}"],
}


def run(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code, capsys.readouterr()


PAIRS = [("task", kind) for kind in BROKEN] + [
    (command, kind) for command in COMMANDS for kind in ("web page", "a folder")
]


@pytest.mark.parametrize(("command", "kind"), sorted(set(PAIRS)))
def test_a_broken_file_is_named(command, kind, tmp_path, capsys):
    path = tmp_path / "broken.yaml"
    content = BROKEN[kind]
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    status, output = run([part.replace("{}", str(path)) for part in COMMANDS[command]], capsys)
    assert status == 2
    assert "broken.yaml" in output.err.replace("\n", "")
    assert output.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_file_is_not_found(command, tmp_path, capsys):
    path = tmp_path / "none.yaml"
    status, output = run([part.replace("{}", str(path)) for part in COMMANDS[command]], capsys)
    assert status == 4
    assert "none.yaml" in output.err.replace("\n", "")


WRONG = """
format: clasification
languages: [en]
metric: acc
sources: [{reader: jsonlines, files: {test: own.jsonl}}]
"""


@pytest.mark.parametrize(
    "command",
    [
        ["tasks", "show", "{}"],
        ["--data", "configs", "data", "ls", "{}"],
        ["--dry-run", "train-adapter", "{}"],
        ["--dry-run", "train-adapter", "mnli,{}"],
    ],
)
def test_a_task_names_what_there_is(command, tmp_path, capsys, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("a backbone is loaded")

    monkeypatch.setattr("xstilts.backbone.backbone.Backbone.load", refuse)
    path = tmp_path / "own.yaml"
    path.write_text(WRONG)
    status, output = run([part.replace("{}", str(path)) for part in command], capsys)
    text = " ".join(output.err.split())
    assert status == 2
    assert "own.yaml: 3 problems" in text
    assert "format: no format named 'clasification'. Did you mean 'classification'?" in text
    assert "metric: no metric named 'acc'. Did you mean 'bucc' or 'accuracy'?" in text
    assert "sources[0].reader: no reader named 'jsonlines'. Did you mean " in text


@pytest.mark.parametrize("command", [["tasks", "show", "{}"], ["--dry-run", "train-adapter", "{}"]])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"metric": "squad"},
            "metric: 'squad' scores answers, and format 'classification' gives te",
        ),
        ({"metric": "chunk_f1"}, "scores lists, and format 'classification' gives texts"),
        ({"metric": "bucc"}, "scores vectors, and format 'classification' gives texts"),
        ({"metric": "tatoeba"}, "scores vectors"),
        ({"metric": "perplexity"}, "scores numbers"),
        (
            {"format": "tagging"},
            "metric: 'accuracy' scores texts, and format 'tagging' gives lists",
        ),
        ({"format": "retrieval"}, "and format 'retrieval' gives vectors"),
        ({"languages": []}, "languages: none is listed."),
        (
            {"sources": [{"reader": "csv", "label_map": {"x": "c"}}]},
            "label_map: 'c' is none of the",
        ),
    ],
)
def test_keys_that_do_not_fit_each_other_are_named(values, said, command, tmp_path, capsys):
    task = {"format": "classification", "metric": "accuracy", "languages": ["en"], "sources": []}
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(task | {"labels": ["a", "b"]} | values))
    status, output = run([part.replace("{}", str(path)) for part in command], capsys)
    assert status == 2
    assert said in " ".join(output.err.split())


@pytest.mark.parametrize(
    ("key", "names", "said"),
    [
        ("labels", "[a, a]", "'a' is listed twice"),
        ("labels", "['', b]", "'' cannot be a name"),
        ("labels", "['a ', a]", "'a ' cannot be a name"),
        ("labels", '["a\\nb", c]', "'a\\nb' cannot be a name"),
        ("labels", '["a\\tb", c]', "'a\\tb' cannot be a name"),
        ("languages", "[en, de, en]", "'en' is listed twice"),
        ("languages", "[en, '../de']", "'../de' cannot be a name"),
        ("more_languages", "['d e']", "'d e' cannot be a name"),
    ],
)
def test_names_that_a_task_cannot_give(key, names, said, tmp_path, capsys):
    path = tmp_path / "own.yaml"
    values = {"languages": "[en]", key: names}
    lines = [f"{name}: {value}" for name, value in values.items()]
    path.write_text(
        "\n".join(["format: classification", "metric: accuracy", "sources: []", *lines])
    )
    status, output = run(["tasks", "show", str(path)], capsys)
    assert status == 2
    assert f"{key}: {said}" in " ".join(output.err.split())


def test_labels_may_hold_blanks_commas_and_any_script(tmp_path):
    path = tmp_path / "own.yaml"
    labels = ["very good", "bad, ugly", "می‌روم", "a:b", "null", "1.0"]
    path.write_text(
        "format: classification\nmetric: accuracy\nsources: []\nlanguages: [en]\n"
        f"labels: {json.dumps(labels)}\n"
    )
    assert load_task(str(path)).labels == labels


SHIPPED = sorted((Path(__file__).parents[3] / "configs").rglob("*.yaml"))


@pytest.mark.long
def test_both_parsers_read_the_shipped_files_alike():
    assert len(SHIPPED) > 100
    for path in SHIPPED:
        text = path.read_text(encoding="utf-8")
        assert yaml.load(text, layers._FastLoader) == yaml.load(text, layers._Loader), path


@pytest.mark.parametrize(
    "text", ["x: ~", "x:", "x: null", 'x: "null"', "x: 1e-4", "x: no", "on: 1"]
)
def test_both_parsers_read_scalars_alike(text):
    assert yaml.load(text, layers._FastLoader) == yaml.load(text, layers._Loader)


@pytest.mark.parametrize("nested", ["[" * 2_000, "{a: " * 2_000, "- " * 2_000])
def test_endless_nesting_is_an_error_and_no_crash(nested, tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("title: x\nmore: " + nested if nested[0] != "-" else nested)
    with pytest.raises(ConfigError):
        layers.read_yaml(path)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["options.targets=[query"], r"--set 'options.targets=\[query' is not valid YAML"),
        (["options={{rank}}"], "a key is no text"),
        (["options=" + "[" * 2_000], "nested too deeply"),
        (["train=1", "train.lr=3"], "sets a key of 'train', which has a plain value"),
        (["train=", "train.lr=3"], "sets a key of 'train', which has a plain value"),
        (["train.lr"], "--set 'train.lr' is not key=value\nExample: --set train.lr=3e-4"),
    ],
)
def test_settings_that_cannot_be_read(pairs, said):
    with pytest.raises(UsageError, match=said):
        layers.parse_overrides(pairs)


def test_an_error_names_the_option_that_was_typed():
    with pytest.raises(UsageError, match=r"^--engine-option 'minutes' is not key=value"):
        chosen_engine("local", ["minutes"])
    with pytest.raises(UsageError, match=r"^--world 'seed' is not key=value"):
        chosen_world("sandbox:seed")


def test_a_key_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("title: {{name}}\n")
    with pytest.raises(ConfigError, match="line 1: a key is no text"):
        layers.read_yaml(path)
