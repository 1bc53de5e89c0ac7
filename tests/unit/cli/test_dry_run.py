"""No command writes under --dry-run: what plans nothing refuses it."""

from __future__ import annotations

import json

import pytest

from xstilts.cli import main

REFUSES = (
    ("demo",),
    ("report",),
    ("score", "predictions", "labels"),
    ("data", "prepare", "xnli"),
    ("data", "bundle", "xnli"),
    ("recipes", "cp", "quick", "mine.yaml"),
    ("zoo", "add", "folder"),
    ("zoo", "pull", "org/name"),
    ("zoo", "bundle", "folder"),
    ("zoo", "tag", "mnli", "best"),
    ("zoo", "page", "--to", "site"),
    ("grid", "worker", "scripts"),
    ("grid", "answer", "scripts"),
    ("grid", "retry", "scripts"),
    ("grid", "cancel", "scripts"),
)


@pytest.mark.parametrize("words", REFUSES, ids=" ".join)
def test_a_command_without_a_plan_refuses(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as caught:
        main(["--json", *words, "--dry-run"])
    output = capsys.readouterr().err
    assert caught.value.code == 2, output
    assert json.loads(output)["what"].endswith("has no plan to print")
    assert list(tmp_path.iterdir()) == []
