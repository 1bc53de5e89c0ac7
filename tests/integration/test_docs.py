"""The code in docs/ runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(encoding="utf-8"), re.S)


def test_the_api_page_has_examples():
    assert BLOCKS


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_examples_of_the_api_page(number, tmp_path, monkeypatch):
    assert "\nassert " in BLOCKS[number], "it does not show what comes out"
    monkeypatch.chdir(tmp_path)
    code = compile(BLOCKS[number], f"api.md, example {number + 1}", "exec")
    exec(code, {"__name__": "example"})
