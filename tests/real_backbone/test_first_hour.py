"""The guide of the first hour runs as it stands, with trainings of a few steps."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from support.files import SHARED, needs_shared
from support.shipped import SHIPPED

from xstilts.cli import main

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "first-hour.md"
NAMES = {folder.partition("/")[0] for folder in SHIPPED}
LABELS = {"entailment", "neutral", "contradiction"}


@needs_shared
@pytest.mark.slow
def test_the_guide_runs(real_backbone, tmp_path, monkeypatch, capsys):
    for name in NAMES:
        shutil.copytree(GUIDE.parents[2] / "adapters_zoo" / name, tmp_path / "adapters_zoo" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XSTILTS_BACKBONE", str(real_backbone))
    monkeypatch.setenv("XSTILTS_DATA", str(SHARED))
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text("utf-8"), re.S)
    told = {}
    for line in "".join(blocks).strip().split("\n"):
        name, *words = shlex.split(re.sub(r"max_steps=\d+", "max_steps=3", line))
        assert name == "xstilts"
        verb = words[0] if words[0] != "zoo" else "zoo ls"
        with pytest.raises(SystemExit) as caught:
            main(["-q", "--offline", *([] if verb == "predict" else ["--json"]), *words])
        output = capsys.readouterr()
        assert not caught.value.code, f"{line}\n{output.err}"
        told.setdefault(verb, []).append(json.loads(output.out))
    found = {row["language"]: row["value"] for row in told["eval"][0]["scores"] if row["main"]}
    assert found["sw"] > 80
    assert found["ta"] > 80
    assert {row["reference"].partition("/")[0] for row in told["zoo ls"][0]} == NAMES
    assert told["predict"][0]["prediction"] in LABELS
    scored = {(row["intermediate"], row["language"]) for row in told["eval"][1]["scores"]}
    assert scored == {(e, c) for e in ("mnli", "conjnli", "both") for c in ("en", "sw")}
