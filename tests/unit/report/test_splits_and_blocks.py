"""A split that is not the task's own is named; one computation, and one task, stands once."""

from __future__ import annotations

import json

import pytest

from xstilts.cli import main
from xstilts.config.load import load_suite
from xstilts.errors import UsageError
from xstilts.evaluate.store import ResultStore, Score
from xstilts.evaluate.submission import write_submission
from xstilts.report.build import build
from xstilts.report.exports import xtreme_record
from xstilts.report.html import write_html
from xstilts.report.material import Material
from xstilts.report.plain import as_json, write_latex, write_markdown
from xstilts.report.sections.results import main_section
from xstilts.report.tables import language_tables, main_table

SUITE = load_suite("xtreme")


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / "results")


def put(store, label, task, right, *, split="test", layer=-1, digest="", language="de", of=20):
    hits = [1] * right + [0] * (of - right)
    pooling = "mean" if layer >= 0 else ""
    score = Score(
        expression=label.partition(" (")[0], intermediate=label, digest=digest, backbone="base",
        fingerprint="f", task=task, language=language, split=split, metric="accuracy",
        value=100 * right / of, n=of, layer=layer, pooling=pooling, source_language="en",
    )  # fmt: skip
    identity = {"label": label, "task": task, "split": split, "layer": layer, "data": [task]}
    identity |= {"language": language, "metric": "accuracy"}
    return store.put(identity, [score], "a\n", "tsv", hits, 1.0)


def material(store):
    return Material(list(store.cells()), SUITE, draws=200)


def main_columns(store):
    return build(material(store)).sections[0].tables[0].columns


# -- splits


def test_another_split_is_in_the_columns_name_everywhere(store, tmp_path):
    put(store, "none", "xnli", 10, split="validation")
    report = build(material(store))
    assert report.sections[0].tables[0].columns == (
        "expression", "xnli validation (1)", "Δ xnli validation",
    )  # fmt: skip
    assert "xnli validation" in json.dumps(as_json(report))
    for write in (write_html, write_markdown, write_latex):
        write(report, tmp_path / "page")
        assert "xnli validation (1)" in (tmp_path / "page").read_text("utf-8"), write
    assert main_table(store.scores()).columns[1] == "xnli validation"
    assert language_tables(store.scores())[0].title == "xnli validation (accuracy)"
    assert set(xtreme_record(store.scores(), SUITE)) == {"none (validation)"}


def test_splits_are_never_averaged(store):
    put(store, "none", "xnli", 10)
    put(store, "none", "xnli", 20, split="validation")
    put(store, "none", "pawsx", 6)
    # 10 and 20 of 20 right, not their mean 75
    record = xtreme_record(store.scores(), SUITE)
    assert record["none"]["xnli"]["accuracy"] == {"de": 50.0}
    assert record["none (validation)"]["xnli"]["accuracy"] == {"de": 100.0}
    assert {view.title: view.rows[0][1] for view in language_tables(store.scores())} == {
        "xnli test (accuracy)": 50.0, "xnli validation (accuracy)": 100.0,
        "pawsx test (accuracy)": 30.0,
    }  # fmt: skip
    assert main_table(store.scores()).columns[1::2] == ("pawsx", "xnli", "xnli validation")
    found = material(store)
    assert found.means["mean"] == tuple(c for c in found.columns if c.name in ("xnli", "pawsx"))
    # (50 + 30) / 2; with the validation rows it would be 60
    assert found.mean_of("none", found.averaged) == 40.0


def test_a_mean_over_another_split_says_so(store):
    put(store, "none", "xnli", 10, split="validation")
    put(store, "none", "pawsx", 6, split="validation")
    assert list(material(store).means) == ["mean validation"]


def test_a_submission_of_another_split_is_refused(store, tmp_path, capsys):
    cell = put(store, "none", "xnli", 10, split="validation")
    with pytest.raises(UsageError, match="holds predictions for 'test', not for 'validation'"):
        write_submission([cell], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    command = ["xtreme", "none", "--tasks", "xnli", "--split", "validation"]
    with pytest.raises(SystemExit) as caught:  # before anything is loaded
        main([*command, "--submit-dir", str(tmp_path / "out"), "--backbone", "/nowhere"])
    assert caught.value.code == 2
    assert "not for 'validation'" in " ".join(capsys.readouterr().err.split())


# -- blocks


def test_a_block_in_the_label_is_the_same_expression(store):
    put(store, "none", "tatoeba", 8, layer=7)
    put(store, "none (block 7)", "tatoeba", 8, layer=7)
    put(store, "none (block 3)", "tatoeba", 4, layer=3)
    put(store, "mnli", "tatoeba", 12, layer=7, digest="m")
    found = material(store)
    assert found.labels == ("none", "mnli")
    assert found.others == ("mnli",)
    assert set(found.verdicts) == {("mnli", "tatoeba block 7")}
    assert [view.rows for view in language_tables(store.scores())] == [
        (
            ("none (block 3)", 20.0, 20.0),
            ("none (block 7)", 40.0, 40.0),
            ("mnli (block 7)", 60.0, 60.0),
        )
    ]


def test_a_table_with_errors_says_how_many_examples(store):
    cell = put(store, "none", "xnli", 10)
    (view,) = language_tables(store.scores(), {cell.key: 1.25})
    assert view.rows == (("none", 50.0, 50.0), ("none ±", 1.25, ""), ("n", "20", ""))
    (view,) = language_tables(store.scores(), {})  # stored without outcomes
    assert view.rows[1:] == (("none ±", "–", ""), ("n", "20", ""))


def test_blocks_of_a_bitext_are_one_task_in_means(store):
    for layer, right in ((3, 2), (7, 10)):
        put(store, "none", "tatoeba", right, layer=layer)
    put(store, "mnli", "tatoeba", 12, layer=7, digest="m")
    put(store, "none", "xnli", 6)
    put(store, "mnli", "xnli", 8, digest="m")
    found = material(store)
    assert [c.name for c in found.columns] == ["xnli", "tatoeba block 3", "tatoeba block 7"]
    # Block 7 is what both have: (30 + 50) / 2, not (30 + 10 + 50) / 3.
    assert found.mean_of("none", found.averaged) == 40.0
    assert main_section(found).intro.endswith(" The mean is that of xnli, tatoeba block 7.")
    record = xtreme_record(store.scores(), SUITE)
    assert record["none"]["tatoeba"]["accuracy"] == {"de": 50.0}


def test_the_same_modules_under_two_labels_are_one_row(store):
    put(store, "none", "xnli", 10, digest="head")
    put(store, "mnli", "xnli", 12, digest="m")
    put(store, "mnli/lora/base", "xnli", 12, digest="m")
    put(store, "mnli/lora/base", "pawsx", 12, digest="m2")
    found = material(store)
    assert found.labels == ("none", "mnli")
    assert {c.name for c in found.columns} == {"xnli", "pawsx"}
    # Where one task differs they stay apart.
    put(store, "qqp", "xnli", 12, digest="m")
    put(store, "qqp", "pawsx", 12, digest="other")
    assert set(material(store).labels) == {"none", "mnli", "qqp"}
