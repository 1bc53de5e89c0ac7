"""The guide to tasks: its files are written, its commands are run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from support.trained import backbone_folder

from xstilts.cli import main

pytestmark = pytest.mark.long

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "tasks.md"
TEXT = GUIDE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


def test_the_guide_as_written(tmp_path, monkeypatch, capsys):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    base = backbone_folder(tmp_path / "pico")
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "CACHE", "DATA", "ZOO"):
        monkeypatch.setenv(f"XSTILTS_{variable}", str(tmp_path / variable.lower()))
    monkeypatch.setenv("XSTILTS_DATA", str(tmp_path))
    assert len(COMMANDS) == 12
    rows = {}
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        more = []
        if words[0] in ("train-adapter", "eval"):
            more = ["--backbone", str(base)]
        if words[0] == "train-adapter":
            more += ["--set", "train.max_steps=2"]
        with pytest.raises(SystemExit) as caught:
            main([*words, *more, "-q", "--json", "--offline"])
        output = capsys.readouterr()
        assert caught.value.code in (0, None), (command, output.err)
        if words[0] == "eval":
            scores = json.loads(output.out)["scores"]
            rows[scores[0]["task"]] = [row["n"] for row in scores if row["main"]]
    assert rows == {"reviews": [2], "riddles": [1], "names": [1], "quiz": [2], "law": [2, 2]}
