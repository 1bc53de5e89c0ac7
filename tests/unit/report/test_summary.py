"""What a report comes to: what helps and what hurts, and that few seeds claim nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
from support.stored import fill

from xstilts.config.load import load_suite
from xstilts.evaluate.stats import NOTHING, THESE_RUNS
from xstilts.report.build import build
from xstilts.report.figures import scatter
from xstilts.report.html import write_html
from xstilts.report.intervals import EffectInterval, forest
from xstilts.report.material import Material
from xstilts.report.model import period
from xstilts.report.plain import as_json, write_markdown
from xstilts.report.summary import HOLM, summary

GAINS = {"none": 0.0, "mnli": 0.2, "qqp": -0.2, "ccg": 0.0}


def report(folder, seeds, tasks=("xnli", "pawsx"), gains=GAINS):
    store = fill(folder, tasks=tasks, seeds=seeds, gains=gains, aligned=False, most=4)
    return build(Material(list(store.cells()), load_suite("xtreme"), draws=1000))


@pytest.mark.long
def test_three_seeds_say_what_helps_and_what_hurts(tmp_path):
    made = report(tmp_path, (1, 2, 3)).summary
    assert made.question == "What do mnli, qqp and ccg change over none, on 2 tasks in 7 languages?"
    assert [(f.title, f.tone) for f in made.findings] == [
        ("Helps", "gain"), ("Hurts", "loss"), ("No difference detected", ""),
    ]  # fmt: skip
    helps, hurts, neither = (finding.lines for finding in made.findings)
    assert helps[0].startswith("mnli: +") and "points [+" in helps[0]
    assert helps[0].endswith("on the mean of 2 tasks; detected higher on 2 and lower on 0 of 2")
    assert hurts[0].startswith("qqp: −") and neither[0].startswith("ccg: ")
    picture = made.figures[0]
    assert picture.title == "Difference to none, mean of 2 tasks"
    assert [picture.text.index(f" {label} ") for label in ("mnli", "ccg", "qqp")] == sorted(
        picture.text.index(f" {label} ") for label in GAINS if label != "none"
    )
    best = made.tables[0]
    assert [row[0] for row in best.rows] == ["xnli", "pawsx"]
    assert {(row[3], row[6]) for row in best.rows} == {("mnli", "higher")}


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_fewer_seeds_say_nothing_of_methods(tmp_path, seeds):
    made = report(tmp_path, seeds).summary
    assert [f.title.lower() for f in made.findings] == [THESE_RUNS]
    assert not made.findings[0].tone and "detected" not in " ".join(made.findings[0].lines)
    assert "Nothing is said of the methods" in made.findings[0].note
    best = made.tables[0]
    assert best.heads[5] == f"Δ ({THESE_RUNS})" and {row[6] for row in best.rows} == {THESE_RUNS}


def test_one_task_and_no_baseline(tmp_path):
    one = report(tmp_path / "one", (1, 2, 3), ("xnli",), {"none": 0.0, "mnli": 0.2}).summary
    assert one.question == "What does mnli change over none, on 1 task in 4 languages?"
    assert one.findings[0].lines[0].endswith("] on xnli")
    bare = report(tmp_path / "bare", (1,), ("xnli",), {"mnli": 0.0, "qqp": 0.1}).summary
    assert bare.question == "How well do mnli and qqp do on 1 task in 4 languages?"
    assert not bare.findings and str(bare.tables[0].rows[0][3]) == "qqp"


@pytest.mark.long
def test_the_summary_is_in_every_form(tmp_path):
    made = report(tmp_path / "results", (1, 2, 3))
    assert as_json(made)["summary"]["findings"][0]["title"] == "Helps"
    for write in (write_html, write_markdown):
        write(made, tmp_path / "page")
        text = (tmp_path / "page").read_text("utf-8")
        assert "What do mnli, qqp and ccg change" in text and "Best row for each target" in text


@pytest.mark.parametrize("long", ["average(mnli/seq_bn, qqp/seq_bn)", "qqp/seq_bn"])
def test_no_word_of_a_picture_of_intervals_is_cut_off(long):
    spans = [EffectInterval(at, 1.0, 0.5, 20.0) for at in (long, "mnli/lora")]
    across = "points, with 95 % intervals (these runs only, not over training)"
    with plt.rc_context({"font.size": 8}):
        picture = forest("summary", "Difference to none", spans, across)
        canvas = plt.figure(figsize=(picture.width, picture.height), layout="constrained")
        picture.draw(canvas)
        canvas.draw_without_rendering()
        texts = [text for text in canvas.findobj(plt.Text) if text.get_text() in (long, across)]
        assert {text.get_text() for text in texts} == {long, across}
        for text in texts:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= canvas.bbox.x1, text
        plt.close(canvas)
    assert picture.width <= (4.8 if len(long) > 20 else 4.0)  # then a phone's letters are larger


def test_labels_of_points_do_not_lie_on_each_other():
    names = [f"merge_ties(mnli/lora, qqp/lora, density=0.{n})" for n in range(10)]
    points = {name: (1000.0 + n, 48.0 + 0.05 * n) for n, name in enumerate(names)}
    with plt.rc_context({"font.size": 8, "text.color": "#123456"}):
        picture = scatter("cost", "Cost", points, "parameters", "score")
        canvas = plt.figure(figsize=(picture.width, picture.height), layout="constrained")
        picture.draw(canvas)
        canvas.draw_without_rendering()
        boxes = [t.get_window_extent() for t in canvas.findobj(plt.Text) if t.get_text() in names]
        marks = [(m.get_color(), m.get_marker()) for m in canvas.axes[0].get_lines()]
        plt.close(canvas)
    assert len(boxes) == 10
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert marks[8:] == [("#123456", "o")] * 2 and len(set(marks[:8])) == 8  # no mark means two


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ((), ""),
        (("2026-11-29T07:00:10", "2026-11-29T07:00:50"), "2026-11-29 07:00 UTC"),
        (("2026-11-29T20:20", "", "2026-11-29T07:00"), "2026-11-29 07:00 to 20:20 UTC"),
        (("2026-11-29T07:00", "2026-11-30T06:00"), "2026-11-29 07:00 to 2026-11-30 06:00 UTC"),
    ],
)
def test_a_day_is_said_once(times, said):
    assert period(times) == said


@pytest.mark.parametrize(("low", "noted"), [(0.5, True), (-0.5, False)])
def test_it_is_said_that_an_interval_is_not_all(tmp_path, monkeypatch, low, noted):
    store = fill(tmp_path, tasks=("xnli",), gains={"none": 0.0, "mnli": 0.1}, aligned=False, most=2)
    material = Material(list(store.cells()), load_suite("xtreme"), draws=200)
    (key, found), *_ = material.verdicts.items()
    verdict = replace(found, low=low, high=2.0, p_holm=0.5)
    assert verdict.claim == NOTHING
    monkeypatch.setitem(material.verdicts, key, verdict)
    (finding,) = summary(material).findings
    assert (HOLM in finding.note) is noted
