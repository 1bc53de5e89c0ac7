"""The guide runs as it stands, on a small world."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from xstilts.cli import main

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "using-modules.md"
FAST = ["--set", "train.max_steps=2"]

pytestmark = pytest.mark.slow


def test_the_guide_runs(home, tmp_path, monkeypatch, capsys):
    pytest.importorskip("cma")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(bash|python)\n(.*?)```", GUIDE.read_text("utf-8"), re.S)
    commands = 0
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, str(GUIDE), "exec"), {})
            continue
        for line in text.strip().splitlines():
            name, *arguments = shlex.split(line)
            assert name == "xstilts"
            if arguments[0] == "train-adapter":
                arguments += FAST
            with pytest.raises(SystemExit) as caught:
                main(["-q", *arguments])
            assert not caught.value.code, f"{line}\n{capsys.readouterr().err}"
            commands += 1
    assert commands == 17
    assert (tmp_path / "exported" / "hf" / "model.safetensors").is_file()
