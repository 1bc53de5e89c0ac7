"""The report's sections by hand arithmetic, and the formats it is written in."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from support.stored import fill

from xstilts.config.load import load_suite
from xstilts.errors import NotFoundError, UsageError
from xstilts.evaluate.stats import THESE_RUNS
from xstilts.evaluate.store import ResultStore, Score
from xstilts.report import figures
from xstilts.report.build import build
from xstilts.report.facts import Facts, _hours
from xstilts.report.figures import write_figures
from xstilts.report.forms import write_forms
from xstilts.report.html import write_html
from xstilts.report.material import Material, UnfinishedCell
from xstilts.report.model import Table, Value, signed
from xstilts.report.plain import as_json, write_latex, write_markdown
from xstilts.report.published import published

SUITE = load_suite("xtreme")


def put(store, label, task, language, hits, seed=1, layer=-1, backbone="base", **more):
    score = Score(
        expression=label, intermediate=label, digest=label, backbone=backbone,
        fingerprint=backbone, task=task, language=language, split="test", metric="accuracy",
        value=100 * sum(hits) / len(hits), n=len(hits), seed=seed, layer=layer,
        source_language="en", **more,
    )  # fmt: skip
    identity = {"metric": "accuracy", "data": [task, language], "label": label, "seed": seed}
    identity |= {"task": task, "backbone": backbone}
    store.put(identity, [score], "a\n", "tsv", hits, 1.0)


def hits(right, of=20):
    return [1] * right + [0] * (of - right)


@pytest.fixture
def store(tmp_path):
    """Two trained tasks and one of retrieval; scores are 5 times the number right."""
    store = ResultStore(tmp_path / "results")
    table = {
        "none": {"en": 16, "de": 10, "ru": 8},
        "mnli": {"en": 17, "de": 14, "ru": 7},
    }
    for label, row in table.items():
        for language, right in row.items():
            put(store, label, "xnli", language, hits(right))
    for label, right in (("none", 12), ("mnli", 12)):
        put(store, label, "pawsx", "de", hits(right))
    for label, right in (("none", 4), ("mnli", 14)):
        put(store, label, "tatoeba", "ru", hits(right), layer=7)
    put(store, "none", "xnli", "sw", hits(9))  # mnli lacks it
    return store


def material(store, **more):
    return Material(list(store.cells()), SUITE, **{"draws": 200, **more})


def section(report, key):
    return next(section for section in report.sections if section.key == key)


def rows(table: Table) -> dict[str, dict[str, str]]:
    """First cell to column name to text."""
    return {
        str(row[0]): dict(zip(table.columns[1:], map(str, row[1:]), strict=True))
        for row in table.rows
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.24, "+1.2"),
        (-15.0, "−15.0"),
        (0.04, "+0.04"),
        (-0.04, "−0.04"),
        (0.004, "0.0"),
        (0, "0.0"),
    ],
)
def test_the_end_of_an_interval_is_on_its_side_of_zero(value, text):
    assert signed(value) == text


def test_the_main_table_by_hand(store):
    found = rows(section(build(material(store)), "main").tables[0])
    # xnli over en, de, ru: none (80 + 50 + 40) / 3, mnli (85 + 70 + 35) / 3
    assert found["none"]["xnli (3)"] == "56.7" and found["mnli"]["xnli (3)"] == "63.3"
    assert found["mnli"]["Δ xnli"].startswith("+6.7 [")
    assert found["none"]["pawsx (1)"] == found["mnli"]["pawsx (1)"] == "60.0"
    # mean of three tasks: none (56.7 + 60 + 20) / 3, mnli (63.3 + 60 + 70) / 3; without tatoeba
    assert (found["none"]["mean"], found["mnli"]["mean"]) == ("45.6", "64.4")
    assert found["none"]["mean without retrieval"] == "58.3"
    assert found["mnli"]["Δ mean without retrieval"].startswith("+3.3 [")
    assert list(found["none"])[:2] == ["xnli (3)", "Δ xnli"]  # in the suite's order


def test_differences_are_tested_in_one_family(store):
    report = build(material(store))
    table = section(report, "tested").tables[0]
    assert [row[1] for row in table.rows] == [
        "xnli", "pawsx", "tatoeba", "mean", "mean without retrieval",
    ]  # fmt: skip
    tatoeba = dict(zip(table.columns, table.rows[2], strict=True))
    # 10 more of 20, none fewer: exact McNemar 2 / 2**10, times five for Holm
    assert tatoeba["p"].order == pytest.approx(2 / 2**10)
    assert tatoeba["p, Holm"].order <= 5 * 2 / 2**10 + 1e-12
    assert tatoeba["verdict"] == THESE_RUNS and tatoeba["test"] == "McNemar, exact"
    # Both have the same rows right: whatever is drawn, the difference is zero.
    same = dict(zip(table.columns, table.rows[1], strict=True))
    assert (same["verdict"], same["95 % interval"]) == ("nothing varies", "")
    without = build(material(store, draws=0))
    assert section(without, "tested").absent == "Comparisons were switched off."
    intro = {whole: section(made, "main").intro for whole, made in ((1, report), (0, without))}
    assert "interval" in intro[1] and "interval" not in intro[0]


def test_groups_gap_and_losses_by_hand(store):
    report = build(material(store))
    by_script = next(t for t in section(report, "groups").tables if t.title == "By script")
    lines = {(str(r[0]), str(r[1])): [str(c) for c in r[2:]] for r in by_script.rows}
    # xnli Latin: en and de: none (80 + 50) / 2, mnli (85 + 70) / 2; Cyrillic: ru
    assert lines["xnli", "Latin"] == ["2", "65.0", "+12.5"]
    assert lines["xnli", "Cyrillic"] == ["1", "40.0", "−5.0"]
    # all tasks, Cyrillic: xnli -5 and tatoeba +50
    assert lines["all tasks", "Cyrillic"][-1] == "+22.5"
    contrast = next(t for t in section(report, "groups").tables if "Differences" in t.title)
    # non-Latin gains (-5 + 50) / 2, Latin (12.5 on xnli, 0 on pawsx; columns with both groups)
    assert [str(r[1]) for r in contrast.rows] == ["non-Latin − Latin"]
    assert str(contrast.rows[0][2]).startswith("−17.5 [")
    gap = rows(section(report, "gap").tables[0])
    # none: 80 - (50 + 40) / 2, mnli: 85 - (70 + 35) / 2
    assert gap["xnli"] == {"none": "35.0", "mnli": "32.5"}
    losses = section(report, "losses")
    assert [str(c) for c in losses.tables[0].rows[0][:3]] == ["mnli", "xnli", "ru"]
    assert losses.intro.startswith("1 of 5 scores")


def test_what_is_missing_is_said(store):
    problem = UnfinishedCell("families", "squad2/1", "failed", "the disk is full")
    found = section(build(material(store, problems=[problem])), "missing")
    assert found.tables[0].rows == (("families", "squad2/1", "failed", "the disk is full"),)
    assert found.tables[1].rows == (("mnli", "xnli", 1, "sw"),)
    assert "nothing was evaluated on udpos, panx" in found.intro


def test_sections_without_data_say_why(store):
    report = build(material(store))
    absent = {s.key: s.absent for s in report.sections if s.absent}
    assert set(absent) == {"alignment", "cost", "size", "shares"}
    assert all(text.endswith(".") and "\n" not in text for text in absent.values())
    with pytest.raises(NotFoundError, match="no scores"):
        build(Material([], SUITE))


def test_costs_sizes_and_shares(store):
    small = Facts(("a/1",), 1000, 1.5, 0.5, "mnli", "lora", 100)
    large = Facts(("b/1",), 1000, 1.5, None, "mnli", "lora", 9000, {"b/1": {"x": (0.2, 0.25)}})
    report = build(material(store, facts={"none": small, "mnli": large}))
    cost = rows(section(report, "cost").tables[0])
    assert cost["none"]["training hours"] == "0.50" and cost["mnli"]["training hours"] == "–"
    assert cost["mnli"]["trained parameters"] == "1,000"
    size = [[str(c) for c in r] for r in section(report, "size").tables[0].rows]
    assert ["xnli", "mnli/lora", "100", "56.7"] in size
    assert ["xnli", "mnli/lora", "9,000", "63.3"] in size
    assert [str(c) for c in section(report, "shares").tables[0].rows[0]] == [
        "b/1", "x", "20.0", "25.0",
    ]  # fmt: skip


def test_hours_leave_pauses_out(tmp_path):
    path = tmp_path / "history.jsonl"
    times = [0, 10, 20, 30, 9030, 9040]  # a night between two steps
    path.write_text("".join(f'{{"time": {t}}}\n' for t in times))
    assert _hours(path) == pytest.approx((4 * 10 + 10) / 3600)
    assert _hours(tmp_path / "none.jsonl") is None
    path.write_bytes(
        path.read_bytes() + b'\0\0\0\n[]\n{"time": null}\n{"ti'
    )  # as a crash leaves it
    assert _hours(path) == pytest.approx((4 * 10 + 10) / 3600)


@pytest.mark.long
def test_alignment_is_shown_by_block_and_over_steps(tmp_path):
    store = fill(tmp_path, tasks=("xnli",), most=2, seeds=(1,), gains={"none": 0, "mnli": 0.1})
    found = section(build(material(store)), "alignment")
    assert [t.title for t in found.tables] == [
        "tatoeba, 3 languages, domain general",
        "tico19, 3 languages, domain medical",
    ]
    assert len(found.tables[0].rows) == 2 * 4  # snapshots are in the picture only
    assert {f.name for f in found.figures} == {
        f"alignment-{task}-{what}" for task in ("tatoeba", "tico19") for what in ("blocks", "steps")
    }


def test_backbones_of_one_name_are_kept_apart(tmp_path):
    store = ResultStore(tmp_path / "results")
    for backbone, scores in (("a" * 64, {"none": 10, "mnli": 12}), ("b" * 64, {"none": 16})):
        for label, right in scores.items():
            put(store, label, "xnli", "de", hits(right), backbone=backbone)
    cells = [
        replace(cell, scores=[s.model_copy(update={"backbone": "encoder"}) for s in cell.scores])
        for cell in store.cells()
    ]
    found = rows(section(build(Material(cells, SUITE, draws=200)), "main").tables[0])
    assert set(found) == {
        "none · encoder@aaaaaa", "mnli · encoder@aaaaaa", "none · encoder@bbbbbb",
    }  # fmt: skip
    assert found["mnli · encoder@aaaaaa"]["Δ xnli"].startswith("+10.0")


def test_backbones_are_kept_apart(store):
    for label, right in (("none", 5), ("mnli", 15)):
        put(store, label, "xnli", "de", hits(right), backbone="large")
    report = build(material(store))
    found = rows(section(report, "main").tables[0])
    assert list(found)[:2] == ["none · base", "none · large"]
    assert found["mnli · large"]["xnli (1)"] == "75.0"
    assert found["mnli · large"]["Δ xnli"].startswith("+50.0 [")
    assert found["mnli · base"]["Δ xnli"].startswith("+20.0 [")


def test_published_numbers_stand_beside_ours(store):
    table = section(build(material(store), reference=True), "reference").tables[0]
    lines = [[str(c) for c in row] for row in table.rows]
    mean_gain = next(line for line in lines if line[:3] == ["mnli", "tatoeba", "MNLI"])
    assert mean_gain[4:6] == ["+48.8", "+50.0"] and mean_gain[7] == "cross-checked"
    # the baseline's nine development scores average to 65.9, as the paper's row does
    base = [p for p in published() if p.system == "XLM-R large" and p.split == "dev"]
    assert len(base) == 9 and sum(p.value for p in base) / 9 == pytest.approx(65.9, abs=0.05)
    gains = [p.value for p in published() if p.label == "mnli" and p.is_gain]
    assert sum(gains) / 9 == pytest.approx(7.5, abs=0.05)
    assert {p.confidence for p in published()} == {
        "read", "computed", "cross-checked", "remembered",
    }  # fmt: skip


# -- formats


def test_html_is_one_file_that_names_nothing_else(store, tmp_path):
    write_html(build(material(store), warning="A <simulation>"), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "A &lt;simulation&gt;" in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert "@import" not in page and "url(http" not in page
    # a summary, nine sections, and one that says what the four others lack
    assert page.count("<section") == 11
    assert page.count("<svg") == 1  # of xnli, which alone has several languages
    ids = re.findall(r'<(?:section|figure)[^>]* id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_page_of_the_same_scores_is_drawn_once(store, tmp_path, monkeypatch):
    drawn, draw = [], figures.svg
    monkeypatch.setattr(figures, "svg", lambda figure: drawn.append(figure) or draw(figure))
    page = tmp_path / "page.html"

    def write():
        drawn.clear()
        found = material(store)
        write_forms(build(found), found, {"html": page})
        return page.read_bytes(), len(drawn)

    whole, pictures = write()
    assert pictures > 0
    assert whole.count(b"<svg") == pictures
    assert write() == (whole, 0)
    page.write_bytes(whole.replace(b"</body>", b"<p>changed</p></body>"))
    assert write() == (whole, pictures)
    page.write_bytes(b"\xff")
    assert write() == (whole, pictures)
    put(store, "mnli", "xnli", "sw", hits(9))
    assert write()[1] >= pictures


def test_latex_is_booktabs_with_everything_escaped(store, tmp_path):
    put(store, "average(a*0.5, b_c)", "xnli", "de", hits(3))
    write_latex(build(material(store)), tmp_path / "t.tex")
    text = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") > 5
    assert r"average(a*0.5, b\_c)" in text and r"$\Delta$ xnli" in text
    assert not re.search(r"[Δ−±–]", text)
    assert not re.search(r"(?<!\\)[#_]", "\n".join(text.splitlines()[1:]))
    first = text.split(r"\begin{tabular}")[1].split(r"\end{tabular}")[0].splitlines()
    kinds = first[0].strip("{}")
    assert all(line.count(" & ") == len(kinds) - 1 for line in first if line.endswith(r"\\"))


LATEX = next(filter(None, map(shutil.which, ("pdflatex", "tectonic"))), "")


@pytest.mark.skipif(not LATEX, reason="neither pdflatex nor tectonic is installed")
def test_latex_compiles(store, tmp_path):
    put(store, "average(a*0.5, b_c) ~^\\{100 %} № 语", "xnli", "de", hits(3))
    for number in range(50):  # more rows than a page has
        put(store, f"m{number}", "xnli", "de", hits(number % 20))
    write_latex(build(material(store, draws=20)), tmp_path / "tables.tex")
    packages = r"\documentclass{article}\usepackage{graphicx}"
    page = rf"{packages}\begin{{document}}\input{{tables}}\end{{document}}"
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    flags = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in LATEX else []
    done = subprocess.run(
        [LATEX, *flags, "page.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")[-2000:]
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    log = (tmp_path / "page.log").read_text("utf-8", "replace") if flags else ""
    assert not re.search(r"Overfull \\[hv]box|Float too large", log)


def test_captions_say_split_and_examples(store, tmp_path):
    write_latex(build(material(store)), tmp_path / "t.tex")
    text = (tmp_path / "t.tex").read_text("utf-8")
    said = "Main table. Scores. xnli, pawsx, tatoeba: test, n = 20 a language."
    assert rf"\caption{{{said}}}" in text
    assert r"\caption{By language. xnli: accuracy. test, n = 20 a language.}" in text


def test_markdown_tables_are_whole(store, tmp_path):
    write_markdown(build(material(store)), tmp_path / "t.md")
    text = (tmp_path / "t.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "## Transfer gap" in text and "| xnli | 35.0 | 32.5 |" in text
    assert "*No alignment was measured; `xstilts align` does.*" in text


def test_json_holds_numbers(store):
    record = as_json(build(material(store)))
    main = record["sections"][0]["tables"][0]
    line = dict(zip(main["columns"], main["rows"][1], strict=True))
    assert line["xnli (3)"] == pytest.approx(190 / 3)
    assert line["Δ xnli"] == pytest.approx(20 / 3)


@pytest.mark.long
def test_figures_are_written_in_every_format(store, tmp_path):
    report = build(material(store))
    every = [figure for part in report.sections for figure in part.figures]
    paths = write_figures(every[:2], tmp_path, ["svg", "pdf", "png"])
    assert {path.suffix for path in paths} == {".svg", ".pdf", ".png"} and len(paths) == 6
    heads = {path.suffix: path.read_bytes()[:8] for path in paths}
    assert heads[".pdf"].startswith(b"%PDF") and heads[".png"] == b"\x89PNG\r\n\x1a\n"
    for path in paths:
        if path.suffix == ".svg":
            ElementTree.fromstring(path.read_text(encoding="utf-8"))
    again = write_figures(every[:1], tmp_path / "again", ["svg"])
    assert again[0].read_bytes() == paths[0].read_bytes()  # nothing random in it
    with pytest.raises(UsageError, match="no figure format 'gif'"):
        write_figures(every, tmp_path, ["gif"])


def test_values_print_as_text():
    assert str(Value("+1.2", subtext="[+0.1, +2.0]")) == "+1.2 [+0.1, +2.0]"
