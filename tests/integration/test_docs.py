"""The code in docs/ runs, its links lead somewhere, and the site builds."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xstilts

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(encoding="utf-8"), re.S)


def test_the_api_page_has_examples():
    assert BLOCKS


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_examples_of_the_api_page(number, tmp_path, monkeypatch):
    assert "\nassert " in BLOCKS[number], "it does not show what comes out"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "cache"))
    code = compile(BLOCKS[number], f"api.md, example {number + 1}", "exec")
    exec(code, {"__name__": "example"})


def pages():
    root = DOCS.parent
    return [*DOCS.rglob("*.md"), root / "README.md", root / "CONTRIBUTING.md"]


def test_every_link_to_a_file_leads_to_one():
    links = [
        (page, target)
        for page in pages()
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:")
    ]
    assert len(links) > 10
    assert [(str(page), t) for page, t in links if not (page.parent / t).exists()] == []


def test_every_name_of_the_reference_is_there():
    names = re.findall(
        r"^::: (\S+)$", "\n".join(p.read_text("utf-8") for p in DOCS.glob("reference/*.md")), re.M
    )
    assert len(names) > 20
    root = Path(xstilts.__file__).parents[1]
    for name in names:
        place = root.joinpath(*name.split("."))
        if not (place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()):
            file, package = place.parent.with_suffix(".py"), place.parent / "__init__.py"
            text = (file if file.is_file() else package).read_text(encoding="utf-8")
            assert re.search(rf"^(class|def) {place.name}\b", text, re.M), name


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("material", "mkdocstrings"))),
    reason="the site needs the docs extra: pip install 'xstilts[docs]'",
)
def test_the_site_builds_without_a_warning(tmp_path):
    config = str(DOCS / "site" / "mkdocs.yml")
    command = ("-m", "mkdocs", "build", "--strict", "-f", config, "-d", str(tmp_path / "site"))
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "session" / "index.html").is_file()
    text = (tmp_path / "site" / "reference" / "session" / "index.html").read_text("utf-8")
    assert 'id="xstilts.session.Session.evaluate"' in text
