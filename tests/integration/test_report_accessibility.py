"""The report's page by axe-core, in headless Chromium: light, dark, wide and narrow.

axe-core comes from npm: `npm install axe-core` in the checkout, or `XSTILTS_AXE=…/axe.min.js`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.chromium import BINARY, chromium
from support.stored import fill

from xstilts.config.load import load_suite
from xstilts.report.build import SIMULATION, build
from xstilts.report.html import write_html
from xstilts.report.material import Material

ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("XSTILTS_AXE", ROOT / "node_modules/axe-core/axe.min.js"))
FOUND = """axe.run(document, {resultTypes: ['violations']}).then(result => result.violations.map(
  v => `${v.id} (${v.impact}): ` + v.nodes.slice(0, 3).map(n => n.html.slice(0, 120)).join(' | ')
))"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BINARY, reason="no chromium to open the page in"),
    pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: npm install axe-core"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    store = fill(folder / "results", tasks=("pawsx", "tatoeba"), most=3, seeds=(1, 2, 3))
    material = Material(list(store.cells()), load_suite("xtreme"), draws=500)
    write_html(build(material, reference=True, warning=SIMULATION), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(path, page, width, scheme):
    page.size(width)
    page.scheme(scheme)
    page.open(path)
    page.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.ask(AXE.read_text("utf-8") + "; 0")
    assert page.ask(FOUND) == []
