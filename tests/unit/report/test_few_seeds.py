"""Below three seeds nothing is claimed about methods; degenerate data are named as such."""

from __future__ import annotations

import json

import pytest
from support.stored import fill

from xstilts.config.load import load_suite
from xstilts.evaluate.stats import THESE_RUNS
from xstilts.report.build import build
from xstilts.report.html import write_html
from xstilts.report.material import Material
from xstilts.report.model import Value
from xstilts.report.plain import as_json, write_latex, write_markdown

GAINS = {"none": 0.0, "mnli": 0.2}


def report(folder, seeds):
    store = fill(folder, tasks=("xnli", "pawsx"), seeds=seeds, gains=GAINS, aligned=False)
    return build(Material(list(store.cells()), load_suite("xtreme"), draws=200))


def bold(made):
    items = [i for s in made.sections for t in s.tables for row in t.rows for i in row]
    return [i for i in items if isinstance(i, Value) and i.significant]


def written(made, folder):
    texts = [json.dumps(as_json(made))]
    for write in (write_html, write_markdown, write_latex):
        write(made, folder / "page")
        texts.append((folder / "page").read_text("utf-8"))
    return texts


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_fewer_than_three_seeds_are_these_runs_only(tmp_path, seeds):
    made = report(tmp_path / "results", seeds)
    assert not bold(made)
    for section in made.sections:
        for table in section.tables:
            told = [h for h in table.heads if "Δ" in h or "interval" in h or "difference of" in h]
            assert all(THESE_RUNS in head for head in told), (section.key, table.title)
    main = made.sections[0].tables[0]
    assert main.heads[1:3] == ("xnli (8)", f"Δ xnli ({THESE_RUNS})")
    assert all(THESE_RUNS in text for text in written(made, tmp_path))
    verdicts = next(s for s in made.sections if s.key == "tested").tables[0]
    assert {row[4] for row in verdicts.rows} == {THESE_RUNS}


def test_three_seeds_may_be_told_apart(tmp_path):
    made = report(tmp_path / "results", (1, 2, 3))
    assert bold(made)
    assert not any(THESE_RUNS in text for text in written(made, tmp_path))


def test_rows_with_too_few_seeds_among_others_are_named(tmp_path):
    for seeds, label in (((1, 2, 3), "mnli"), ((1,), "qqp")):
        gains = {"none": 0.0, label: 0.2}
        store = fill(tmp_path, tasks=("xnli", "pawsx"), seeds=seeds, gains=gains, aligned=False)
    made = build(Material(list(store.cells()), load_suite("xtreme"), draws=200))
    main = made.sections[0].tables[0]
    assert main.scope == f"qqp with fewer than three seeds: {THESE_RUNS}"
