from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from support.zoo_modules import add

from xstilts.zoo import Zoo
from xstilts.zoo.card import write_card
from xstilts.zoo.manifest import SIGNATURE, Parent
from xstilts.zoo.page import FAILS, HOLDS, UNCHECKED, UNSIGNED, anchor, shown, write_page


def parent(entry, role="below"):
    return Parent(reference=entry.reference, digest=entry.manifest.digest, role=role)


class Reader(HTMLParser):
    """Articles by id with their attributes and text, and every link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.articles: dict[str, dict[str, str]] = {}
        self.links, self.ids, self.here = [], set(), None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "article":
            self.here = self.articles.setdefault(values["id"], {**values, "text": ""})
        if "href" in values and tag == "a":
            self.links.append(values["href"])

    def handle_endtag(self, tag):
        if tag == "article":
            self.here = None

    def handle_data(self, data):
        if self.here is not None:
            self.here["text"] += data


@pytest.fixture
def zoo(tmp_path):
    return Zoo(tmp_path / "zoo")


def page(zoo, tmp_path, **options):
    path, _ = write_page(zoo, tmp_path / "site", **options)
    return Reader(path.read_text(encoding="utf-8"))


def test_modules_of_studies_stand_apart(zoo, tmp_path):
    other = add(zoo.of_study("rates"), seed=2)
    own = add(zoo, seed=1, parents=[parent(other)])
    found = page(zoo, tmp_path)
    assert list(found.articles) == [anchor(own.manifest.digest)]
    assert "left out" not in (tmp_path / "site/index.html").read_text("utf-8")
    assert {link.removeprefix("#") for link in found.links if link.startswith("#")} <= found.ids
    every = page(zoo, tmp_path, studies=True)
    assert set(every.articles) == {anchor(e.manifest.digest) for e in (own, other)}


def test_modules_of_one_name_are_told_apart(zoo, tmp_path):
    entries = [add(zoo, seed=seed) for seed in range(1, 6)]
    other = add(zoo, "lora", seed=3)
    found = page(zoo, tmp_path).articles
    assert list(found)[-5:] == [anchor(entry.manifest.digest) for entry in entries]
    heads = {key: article["text"].split("reference")[0] for key, article in found.items()}
    for entry in entries:
        assert f"seed {entry.manifest.seed}2026-01-02" in heads[anchor(entry.manifest.digest)]
    assert "seed" not in heads[anchor(other.manifest.digest)]


def test_a_module_says_what_it_is_and_how_it_loads(zoo, tmp_path):
    entry = add(zoo, "lora", license="mit", languages=["sw"])
    rows = [
        {"task": "xnli", "language": code, "split": "test", "metric": "accuracy", "value": value}
        for code, value in (("de", 70.0), ("sw", 60.5))
    ]
    write_card(entry.folder, rows, repo="org/mnli-lora")
    read = page(zoo, tmp_path, title="Ours & theirs")
    (article,) = read.articles.values()
    assert article["id"] == anchor(entry.manifest.digest)
    assert article["data-task"] == "mnli" and article["data-license"] == "mit"
    assert article["data-method"] == '["lora", "lora"]'
    assert article["data-language"] == '["sw", "en"]'
    assert article["data-scores"] == '{"dev": 80.5, "xnli": 65.25}'
    assert article["data-signature"] == UNSIGNED
    for text in (
        entry.reference,
        "xstilts zoo pull hf:org/mnli-lora\n",
        "from peft import PeftModel",
        'snapshot_download("org/mnli-lora")',
        "2026-01-02",
    ):
        assert text in article["text"]


def test_nothing_of_a_module_becomes_markup(zoo, tmp_path):
    bad = '"><script>alert(1)</script>'
    entry = add(zoo, license=bad, labels=["a", "<img src=x>", "b"])
    card = f"---\nlicense: x\n---\nWith plain peft:\n\n```python\n</code>{bad}\n```\n"
    (entry.folder / "README.md").write_text(card, encoding="utf-8")
    path, _ = write_page(zoo, tmp_path, title=bad)
    text = path.read_text(encoding="utf-8")
    assert text.count("<script>") == 1 and "<img" not in text
    (article,) = Reader(text).articles.values()
    assert article["data-license"] == bad and f"</code>{bad}" in article["text"]


def test_lineage_is_drawn_and_linked_both_ways(zoo, tmp_path):
    lang = add(zoo, name="lang-sw")
    task = add(zoo, parents=[parent(lang)])
    gone = Parent(reference="gone/lora@0a1b", digest="0" * 64, role="merged")
    parents = [parent(task, "merged"), parent(lang, "merged"), gone]
    text = f"fuse(@{task.manifest.digest}, @{lang.manifest.digest})"
    top = add(zoo, name="fused", parents=parents, composition=text)
    read = page(zoo, tmp_path)
    own = read.articles[anchor(top.manifest.digest)]["text"]
    boxes = ("fused/seq_bn", "merged: mnli/seq_bn", "merged, below: lang-sw/seq_bn")
    named = ", ".join(entry.reference.partition("@")[0] for entry in (task, lang))
    assert f"compositionfuse({named})" in own
    assert all(box in own for box in boxes) and "merged: gone/lora (not here)" in own
    svg = next(module.lineage for module in shown(zoo) if module.name == "fused/seq_bn")
    assert svg.count("<rect") == 4 and svg.count("<path") == 4  # a shared ancestor is one box
    y = {name: float(top) for top, name in re.findall(r'y="(\d+)">(?:[\w, ]+: )?([\w-]+)/', svg)}
    assert y["fused"] < y["mnli"] < y["lang-sw"]  # every line leads down
    assert all(link[1:] in read.ids for link in read.links)
    base = read.articles[anchor(lang.manifest.digest)]["text"]
    assert "Part of" in base and f"fused/seq_bn @{top.manifest.digest[:7]}" in base


def test_signatures_are_checked_with_a_key_only(zoo, tmp_path):
    pytest.importorskip("model_signing")
    from integration.test_sharing import keys

    from xstilts.zoo.signing import sign_folder

    keys(tmp_path)
    signed, forged = add(zoo), add(zoo, name="forged")
    add(zoo, name="plain")
    sign_folder(signed.folder, tmp_path / "key.pem")
    (forged.folder / SIGNATURE).write_bytes((signed.folder / SIGNATURE).read_bytes())
    found = [module.signature for module in shown(zoo)]
    assert found == [UNCHECKED, UNCHECKED, UNSIGNED]  # forged, mnli, plain
    assert [m.signature for m in shown(zoo, tmp_path / "key.pub")] == [FAILS, HOLDS, UNSIGNED]


def test_a_broken_module_is_counted_and_an_empty_library_has_a_page(zoo, tmp_path):
    assert "library is empty" in write_page(zoo, tmp_path)[0].read_text(encoding="utf-8")
    add(zoo)
    (add(zoo, name="broken").folder / "manifest.json").write_text("{}", encoding="utf-8")
    path, modules = write_page(zoo, tmp_path)
    assert len(modules) == 1
    assert "1 more could not be read and is left out" in path.read_text(encoding="utf-8")


@pytest.mark.long
def test_no_torch_is_imported(zoo, tmp_path):
    add(zoo)
    command = ["--zoo", str(zoo.root), "-q", "zoo", "page", "--to", str(tmp_path / "site")]
    script = (
        f"import sys\nfrom xstilts.cli import main\ntry:\n    main({command!r})\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "site" / "index.html").is_file()
