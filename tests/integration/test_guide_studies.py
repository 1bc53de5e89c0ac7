"""The guide to recipes and studies: its files are written, its commands are run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from support.in_process import work_here

from xstilts.cli import grid_commands, main

pytestmark = pytest.mark.long

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "studies.md"
TEXT = GUIDE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


def test_the_guide_as_written(home, tmp_path, monkeypatch, capsys):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    work_here(monkeypatch)  # workers of their own would build the world that is not small
    monkeypatch.setattr(grid_commands, "DRAWS", 100)
    made = []
    for command in COMMANDS:
        more = ["--draws", "100"] if "answer" in command.split() else []
        with pytest.raises(SystemExit) as caught:
            main([*shlex.split(command)[1:], *more, "-q", "--json", "--offline"])
        output = capsys.readouterr()
        assert caught.value.code in (0, None), (command, output.err)
        made.append(json.loads(output.out))
    assert len(made) == 5
    rows = {(row["intermediate"], row["task"]) for row in made[1]["scores"]}
    assert rows == {
        (name, task) for name in ("none", "mnli", "qqp") for task in ("xnli", "tatoeba")
    }
    page = (tmp_path / "answer" / "answer.html").read_text(encoding="utf-8")
    assert "Does NLI training change alignment?" in page and "mnli-shuffled" in page
