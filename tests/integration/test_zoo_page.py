"""The library's page in a browser: quiet, alone, fitting, usable with a keyboard."""

from __future__ import annotations

import pytest
from support.chromium import BINARY, chromium
from support.zoo_modules import add

from xstilts.zoo import Zoo
from xstilts.zoo.manifest import Parent
from xstilts.zoo.page import anchor, write_page

pytestmark = pytest.mark.skipif(not BINARY, reason="no chromium to open the page in")

FITS = "document.documentElement.scrollWidth <= window.innerWidth"
SHOWN = (
    "[...document.querySelectorAll('article')].filter(a => !a.hidden)"
    ".map(a => a.querySelector('b').textContent)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    zoo = Zoo(folder / "zoo")
    lora = add(zoo, "lora", license="mit", training={"dev_score": 70.0})
    add(zoo, name="qqp", task="qqp", source_language="de", training={"dev_score": 90.0})
    parent = Parent(reference=lora.reference, digest=lora.manifest.digest)
    add(zoo, name="on-mnli", parents=[parent], created="2026-03-02T03:04:05+00:00", training={})
    path, _ = write_page(zoo, folder)
    return path, anchor(lora.manifest.digest)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
    assert opened.problems == []  # no error in the console, whatever was done


def choose(page, field, value):
    page.ask(
        f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('input', {{bubbles: true}})) }})"
        f"(document.getElementById({field!r}))"
    )
    return page.ask(SHOWN)


@pytest.mark.long
def test_nothing_overflows_and_nothing_is_fetched(site, page):
    path, _ = site
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            page.size(width)
            page.scheme(scheme)
            page.open(path)
            page.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert page.ask(FITS), (width, scheme)
            dark = page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 22)"
            assert dark == (scheme == "dark")
    assert set(page.requests) <= {path.as_uri(), "data:,"}


def test_filters_and_orders(site, page):
    page.open(site[0])
    every = ["mnli/lora", "on-mnli/seq_bn", "qqp/seq_bn"]
    assert page.ask(SHOWN) == every
    assert choose(page, "q", "seq MNLI") == ["on-mnli/seq_bn"]
    assert choose(page, "q", "") == every
    assert choose(page, "task", "qqp") == ["qqp/seq_bn"]
    assert page.ask("location.hash") == "#task=qqp"
    assert choose(page, "language", "en") == []
    assert page.ask("!document.getElementById('nothing').hidden")
    page.ask("document.getElementById('clear').click()")
    assert page.ask(SHOWN) == every and page.ask("document.activeElement.id") == "q"
    assert choose(page, "license", "mit") == ["mnli/lora"]
    choose(page, "license", "")
    assert choose(page, "least", "80") == ["qqp/seq_bn"]
    choose(page, "least", "")
    assert choose(page, "order", "score") == ["qqp/seq_bn", "mnli/lora", "on-mnli/seq_bn"]
    assert choose(page, "order", "newest") == ["on-mnli/seq_bn", "mnli/lora", "qqp/seq_bn"]


def test_an_address_opens_a_module_or_sets_the_filters(site, page):
    path, place = site
    page.open(path)
    choose(page, "task", "qqp")
    page.ask(f"location.hash = {place!r}; new Promise(done => setTimeout(done, 100))")
    assert page.ask(f"document.querySelector('#{place} details').open")
    page.ask("location.hash = 'method=lora'; new Promise(done => setTimeout(done, 100))")
    assert page.ask(SHOWN) == ["mnli/lora"]


def test_the_keyboard_reaches_everything(site, page):
    page.open(site[0])
    page.ask("document.querySelector('article summary').focus()")
    page.press("Enter")
    assert page.ask("document.querySelector('article details').open")
    page.press("Tab")  # from the summary to the first button of what it opened
    assert page.ask("document.activeElement.closest('article') !== null")
    slash = "new KeyboardEvent('keydown', {key: '/', bubbles: true})"
    page.ask(f"document.body.dispatchEvent({slash})")
    assert page.ask("document.activeElement.id") == "q"
