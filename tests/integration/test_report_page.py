"""The report's page in a browser: quiet, alone, fitting, quick, usable with a keyboard."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from support.chromium import BINARY, chromium
from support.stored import GAINS, fill

from xstilts.config.load import load_suite
from xstilts.report.build import build
from xstilts.report.html import write_html
from xstilts.report.material import Material

pytestmark = pytest.mark.skipif(not BINARY, reason="no chromium to open the page in")

FITS = "document.documentElement.scrollWidth <= window.innerWidth"
BROKEN = """[...document.querySelectorAll('table:not(.long) td.n')]
  .map(cell => cell.firstChild).filter(Boolean).filter(text => {
    const range = document.createRange();
    range.selectNodeContents(text);
    return range.getClientRects().length > 1;
  }).map(text => text.textContent)"""
"""Numbers that a line ends within."""
FIRST = "document.querySelector('#main tbody tr td').textContent"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    tasks = ("pawsx", "tatoeba")
    store = fill(folder / "results", tasks=tasks, most=3, seeds=(1,), examples=40)
    material = Material(list(store.cells()), load_suite("xtreme"), draws=200)
    write_html(build(material, reference=True), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
    assert opened.problems == []  # no error in the console, whatever was done


@pytest.mark.long
def test_nothing_overflows_and_nothing_is_fetched(path, page):
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            page.size(width)
            page.scheme(scheme)
            page.open(path)
            page.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert page.ask(FITS), (width, scheme)
            shade = page.ask("getComputedStyle(document.body).backgroundColor")
            levels = [int(level) for level in re.findall(r"\d+", shade)]
            assert max(levels) < 40 if scheme == "dark" else min(levels) > 240
    assert page.problems == []
    assert set(page.requests) <= {path.as_uri(), "data:,"}


@pytest.mark.long
def test_tables_sort_with_the_keyboard(path, page):
    page.open(path)
    assert page.ask(FIRST) == "none"
    page.ask("document.querySelectorAll('#main th button')[2].focus()")
    page.press("Enter")  # Δ of the first task: the highest first
    assert page.ask(FIRST) == "mnli"
    head = "document.querySelectorAll('#main th')[1].getAttribute('aria-sort')"
    assert page.ask(head) == "descending"
    page.press("Enter")
    assert page.ask(head) == "ascending" and page.ask(FIRST) == "qqp"
    values = page.ask(
        "[...document.querySelectorAll('#main tbody tr')].map(r => r.cells[1].dataset.d ?? null)"
    )
    numbers = [float(value) for value in values if value is not None]
    assert numbers == sorted(numbers) and values[-1] is None  # the baseline has no difference


def test_score_rows_are_filtered_from_a_table(path, page):
    page.open(path)
    page.ask("document.querySelector('button.rows[data-filter=pawsx]').click()")
    assert page.ask("document.querySelector('#provenance details').open")
    shown = "[...document.querySelectorAll('#provenance tbody tr')].filter(r => !r.hidden).length"
    assert page.ask(shown) == 3 * len(GAINS)
    every = page.ask("JSON.parse(document.getElementById('rows').textContent).rows[0].length")
    assert page.ask("document.getElementById('matches').textContent") == f"15 of {every}"


CHOOSE = """[...document.querySelectorAll('#choose input')]
  .filter(box => {}.includes(box.value)).forEach(box => box.click())"""
SEEN = "[...document.querySelectorAll('{}')].filter(e => e.offsetParent).map(e => e.textContent)"


def seen(page, what):
    return page.ask(SEEN.format(what))


def test_filters_leave_what_is_chosen_and_the_baseline(path, page):
    page.open(path)
    page.ask("document.querySelectorAll('#choose details').forEach(d => d.open = true)")
    page.ask(CHOOSE.format(["tatoeba", "mnli"]))
    heads = seen(page, "#main th button:first-child")
    assert [head.split(" (")[0] for head in heads] == [
        "expression", "tatoeba", "mean", "mean without retrieval"
    ]  # fmt: skip
    assert seen(page, "#main tbody td:first-child") == ["none", "mnli"]
    assert set(seen(page, "#losses tbody td:nth-child(2)")) <= {"tatoeba"}
    assert seen(page, "#languages .table figcaption b") == ["tatoeba: accuracy"]
    assert seen(page, "#languages th[data-of] button") == ["none", "mnli"]
    page.ask("document.querySelector('#choose button[type=reset]').click()")
    page.ask("new Promise(done => setTimeout(done, 20))")
    assert len(seen(page, "#main tbody td:first-child")) == len(GAINS)
    # by language: Arabic's row is left, and the groups of other scripts go
    page.ask(CHOOSE.format(["Arabic"]))
    assert seen(page, "#languages-2 tbody td:first-child") == ["ar"]
    by_script = "#groups-1 tbody td:nth-child(2)"
    assert set(seen(page, by_script)) == {"Arabic"}
    page.ask("document.querySelector('#provenance details').open = true")
    page.ask("new Promise(done => setTimeout(done, 50))")
    assert set(seen(page, "#provenance tbody td:nth-child(4)")) == {"ar"}


@pytest.mark.slow
def test_five_thousand_rows_load_in_a_second(page, tmp_path):
    few = list(fill(tmp_path / "results", most=12, seeds=(1,), examples=10).cells())
    cells = [_again(cell, number) for number in range(4) for cell in few]
    material = Material(cells, load_suite("xtreme"), draws=0)
    assert len(material.scores) >= 5000
    write_html(build(material), tmp_path / "report.html")
    page.size(1280)
    times = [page.open(tmp_path / "report.html") for _ in range(5)]
    print(f"{len(material.scores)} rows, seconds: {[round(time, 2) for time in times]}")
    assert min(times) < 1
    for width in (1280, 390):
        page.size(width)
        page.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.ask(FITS)


def _again(cell, number):
    """The same scores of another module under another label."""
    rows = [
        score.model_copy(
            update={
                "intermediate": f"{score.intermediate}-{number}",
                "digest": f"{score.digest}-{number}",
            }
        )
        for score in cell.scores
    ]
    return replace(cell, scores=rows)


@pytest.mark.slow
def test_it_prints(path, page):
    page.open(path)
    printed = page.call("Page.printToPDF", preferCSSPageSize=True)
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


@pytest.mark.long
def test_no_table_is_wider_than_the_paper(page, tmp_path):
    merged = [f"merge_ties(mnli/seq_bn, qqp/lora, density=0.{n})" for n in range(1, 9)]
    gains = GAINS | dict.fromkeys(merged, 0.02)
    store = fill(tmp_path / "results", tasks=("xnli",), gains=gains, seeds=(1,), examples=40)
    material = Material(list(store.cells()), load_suite("xtreme"), draws=2500)
    write_html(build(material), tmp_path / "report.html")
    page.size(1032)  # what base.css leaves of A4 landscape, 297 less 24 mm at 96 pixels an inch
    page.call("Emulation.setEmulatedMedia", media="print")
    page.open(tmp_path / "report.html")
    page.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    table = "[...document.querySelectorAll('table')]"
    assert page.ask(f"{table}.filter(t => t.rows[0].cells.length > 12).length") > 0
    assert page.ask(f"Math.max(...{table}.map(t => t.getBoundingClientRect().width))") <= 1032
    assert page.ask(BROKEN) == []
    page.call("Emulation.setEmulatedMedia", media="")
