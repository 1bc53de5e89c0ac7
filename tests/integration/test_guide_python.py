"""The guide and the notebook for programs run as they stand, on a small world."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from xstilts import session

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.slow


def guide():
    text = (DOCS / "guides" / "python.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.S)


def notebook():
    cells = json.loads((DOCS / "python.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize(("blocks", "count"), [(guide, 7), (notebook, 7)])
def test_it_runs(home, blocks, count, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, names = blocks(), {"__name__": "example"}
    assert len(found) == count
    for number, text in enumerate(found, 1):
        exec(compile(text, f"{blocks.__name__}, block {number}", "exec"), names)
    assert "<table" in names["scores"]._repr_html_()
    assert "xnli" in repr(names["scores"])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "fused" in page
    shown = names.get("page") or names["report"]
    assert len(shown.to_pandas()) >= 4
    assert "fused" in repr(shown)


def test_the_guide_names_every_verb():
    text = (DOCS / "guides" / "python.md").read_text(encoding="utf-8")
    assert [verb for verb in session.VERBS if verb not in text] == []
