"""Each kind of task from its original files to a predictions file, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import which

import pytest
from support.format_files import CONTEXT, TAGGED, write_files
from support.trained import backbone_folder

from xstilts.cli import main
from xstilts.data import convert
from xstilts.tasks.prediction_files import score_file

FAST = ("--set", "train.max_steps=2", "--set", "train.batch_size=2")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("place"))
    backbone_folder(folder / "pico")
    return folder


@pytest.fixture
def run(place, capsys, monkeypatch):
    monkeypatch.setenv("XSTILTS_HOME", str(place / "home"))
    monkeypatch.setenv("XSTILTS_CACHE", str(place / "cache"))
    where = ("--data", str(place / "data"), "--zoo", str(place / "zoo"), "-q", "--offline")

    def call(*arguments, code=0):
        base = ("--backbone", str(place / "pico"))
        with pytest.raises(SystemExit) as caught:
            main([*where, "--json", *arguments, *base])
        output = capsys.readouterr()
        assert caught.value.code in (code, None), output.err
        return json.loads(output.out if not code else output.err)

    return call


def cell(place, scores) -> Path:
    key = scores[0]["cell"]
    return next((place / "home" / "results" / "cells" / key[:2] / key).glob("predictions.*"))


def train(run, task):
    return run("train-adapter", task, *FAST)["reference"]


def evaluate(run, place, expression, task, *more):
    found = run("eval", expression, "--task", task, *more)["scores"]
    return {row["metric"]: row["value"] for row in found}, cell(place, found), found[0]


def test_single_sentences(run, place):
    scores, path, row = evaluate(run, place, train(run, "sst2"), "sst2")
    assert set(path.read_text().split()) <= {"negative", "positive"}
    assert (row["n"], path.suffix, len(path.read_text().splitlines())) == (3, ".tsv", 3)
    gold = ["negative", "positive", "positive"]
    right = sum(a == b for a, b in zip(path.read_text().split(), gold, strict=True))
    assert scores["accuracy"] == pytest.approx(100 * right / 3)


def test_choices(run, place):
    scores, path, row = evaluate(run, place, train(run, "copa"), "xcopa", "--langs", "it")
    said = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["id"] for row in said] == ["0", "1", "2"]
    assert {row["label"] for row in said} <= {0, 1}
    assert row["n"] == 3
    labels = place / "data" / "xcopa" / "test.it.jsonl"
    assert score_file("xcopa", path, labels, "it") == scores
    assert row["train_task"] == "copa"


def test_tags(run, place):
    scores, path, row = evaluate(run, place, train(run, "udpos"), "udpos", "--langs", "de")
    blocks = path.read_text().split("\n\n")
    assert [len(block.split()) for block in blocks] == [3, 1]
    assert row["n"] == 2
    gold = place / "tags.tsv"
    gold.write_text("DET\nNOUN\nVERB\n\nPRON\n")
    assert score_file("udpos", path, gold, "de") == scores
    assert {"f1", "token_accuracy"} <= set(scores)


def test_answers(run, place):
    scores, path, row = evaluate(run, place, train(run, "squad1"), "xquad", "--langs", "de")
    answers = json.loads(path.read_text())
    assert set(answers) == {"q0", "q1"}
    assert all(answer in CONTEXT for answer in answers.values())
    assert scores["mean"] == pytest.approx((scores["exact_match"] + scores["f1"]) / 2)
    assert row["n"] == 2
    labels = place / "data" / "xquad" / "xquad.de.json"
    assert score_file("xquad", path, labels, "de") == scores


@pytest.mark.long
def test_no_answers(run, place):
    reference = train(run, "squad2")
    more = ("--set", "null_threshold=-1000")
    _, path, row = evaluate(run, place, reference, "squad2", *more)
    assert json.loads(path.read_text()) == {"q0": "", "q1": ""}
    assert row["n"] == 2
    _, path, _ = evaluate(run, place, reference, "squad2", "--set", "null_threshold=1000")
    assert all(json.loads(path.read_text()).values())


def test_perplexity(run, place):
    scores, path, row = evaluate(run, place, train(run, "mlm"), "mlm", "--langs", "en")
    total, count = map(float, path.read_text().split("\t"))
    assert row["n"] == 1  # both lines are packed into one row
    assert count >= 1
    assert scores["loss"] == pytest.approx(total / count, abs=1e-5)
    assert scores["perplexity"] == pytest.approx(2.718281828 ** scores["loss"], rel=1e-5)


@pytest.mark.long
def test_mining(run, place):
    # Both sides hold the same six sentences, so each pair has cosine 1; five of them are gold.
    same = ("--set", "margin=absolute", "--set", "threshold=0.9999")
    scores, path, row = evaluate(run, place, "none", "bucc2018", "--langs", "de", *same)
    found = {tuple(line.split("\t")) for line in path.read_text().splitlines()}
    assert found == {(f"de-{n}", f"en-{n}") for n in range(6)}
    assert (row["n"], scores["recall"]) == (5, 100.0)
    assert scores["precision"] == pytest.approx(500 / 6)
    gold = place / "data" / "bucc2018" / "de-en.test.gold"
    again = score_file("bucc2018", path, gold, "de")
    assert again == {name: scores[name] for name in again}
    scores, _, _ = evaluate(run, place, "none", "bucc2018", "--langs", "de")
    assert scores["threshold"] > 0
    dev, _, row = evaluate(run, place, "none", "bucc2018", "--langs", "de", "--split", "validation")
    assert dev["f1"] == scores["validation_f1"]
    assert row["split"] == "validation"
    other = ("--set", "margin=absolute", "--set", "threshold=2")
    none, path, _ = evaluate(run, place, "none", "bucc2018", "--langs", "de", *other)
    assert none["f1"] == 0
    assert path.read_text() == ""


def test_ranking(run, place):
    _, path, row = evaluate(run, place, "none", "lareqa", "--langs", "de")
    ranked = json.loads(path.read_text())
    assert set(ranked) == {"same-0_de", "same-1_de"}
    assert all(len(ids) == 4 for ids in ranked.values())
    assert row["n"] == 2
    scores, path, row = evaluate(run, place, "none", "mewslix", "--langs", "de")
    assert {len(ids) for ids in json.loads(path.read_text()).values()} == {3}
    assert row["n"] == 2
    assert 0 < scores["map"] <= 100


def test_labels_of_a_conversion_score_what_was_predicted(run, place):
    raw = place / "raw"
    raw.mkdir()
    (raw / "tatoeba.deu-eng.deu").write_text("eins\nzwei\ndrei\n")
    (raw / "tatoeba.deu-eng.eng").write_text("the river\na man\nold house\n")
    convert("tatoeba", raw, place / "data" / "tatoeba")
    scores, path, _ = evaluate(run, place, "none", "tatoeba", "--langs", "de")
    labels = place / "data" / "tatoeba" / "labels" / "test-de.tsv"
    # Sorted: a man (line 1), old house (2), the river (0).
    assert labels.read_text() == "1\n2\n0\n"
    assert score_file("tatoeba", path, labels, "de") == scores


def test_several_blocks_at_once(run, place):
    found = run(
        "eval", "none", "--task", "bucc2018", "--langs", "de", "--layer", "0,2-3", "--force"
    )
    assert found["computed"] == 3
    rows = [(row["intermediate"], row["layer"]) for row in found["scores"] if row["main"]]
    assert rows == [("none", 0), ("none", 2), ("none", 3)]
    error = run("eval", "none", "--task", "bucc2018", "--layer", "4", code=2)
    assert "3 blocks" in error["what"]
    assert (
        "names no blocks"
        in run("eval", "none", "--task", "bucc2018", "--layer", "x", code=2)["what"]
    )


def test_expressions_share_the_rows_that_are_read(run, place, monkeypatch):

    from xstilts.evaluate import row_cache

    read, split = [], []
    load, encode = row_cache.load, row_cache.encode
    monkeypatch.setattr(row_cache, "load", lambda *a, **k: read.append(a[2]) or load(*a, **k))
    monkeypatch.setattr(
        row_cache, "encode", lambda *a, **k: split.append(a[1].name) or encode(*a, **k)
    )
    for language in ("nl", "pt"):
        (place / "data" / "udpos" / f"test-{language}.tsv").write_text(f"{language}\tX\n")
    first = train(run, "udpos")
    second = run("train-adapter", "udpos", "--method", "lora", *FAST)["reference"]
    found = run("eval", first, second, "--task", "udpos", "--langs", "nl,pt")
    assert found["computed"] == 4
    order = [(row["expression"], row["language"]) for row in found["scores"] if row["main"]]
    assert order == [(first, "nl"), (first, "pt"), (second, "nl"), (second, "pt")]
    assert (sorted(read), len(split)) == (["nl", "pt"], 2)


def test_a_file_that_is_made_ready_ahead_is_refused_where_it_is_evaluated(run, place):
    (place / "data" / "udpos" / "test-it.tsv").write_text(TAGGED)
    (place / "data" / "udpos" / "test-tr.tsv").write_text("a\tNOPE\n")
    error = run("eval", train(run, "udpos"), "--task", "udpos", "--langs", "it,tr", code=1)
    assert error["where"].endswith("test-tr.tsv:1")


@pytest.mark.long
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precision_is_another_cell_and_says_so(run, place, precision, monkeypatch):
    monkeypatch.setattr("xstilts.backbone.machine.has_bf16", lambda: True)
    reference = train(run, "udpos")
    for expression, task in ((reference, "udpos"), ("none", "bucc2018")):
        arguments = ("eval", expression, "--task", task, "--langs", "de")
        full = run(*arguments)["scores"][0]
        half = run(*arguments, "--precision", precision)
        assert half["computed"] == 1
        assert (full["flags"], half["scores"][0]["flags"]) == ([], [precision])
        (difference,) = half["differences"]
        assert difference["language"] == "de"
        assert difference["value"] == half["scores"][0]["value"] - full["value"]
    error = run("eval", "none", "--task", "bucc2018", "--precision", "fp8", code=2)
    assert "no precision named 'fp8'" in error["what"]


@pytest.mark.long
@pytest.mark.skipif(not which("g++"), reason="torch.compile needs g++ on a CPU")
def test_compiled_evaluation_scores_the_same(run, place):
    reference = train(run, "udpos")
    arguments = ("eval", reference, "--task", "udpos", "--langs", "de")
    wanted = run(*arguments)["scores"]
    found = run(*arguments, "--compile", "--force")
    assert found["computed"] == 1
    assert [row["value"] for row in found["scores"]] == [row["value"] for row in wanted]
    error = run(*arguments, "--compile", "--precision", "int8", code=2)
    assert "int8 is not compiled" in error["what"]


@pytest.mark.long
def test_a_dry_run_lists_cells_and_computes_none(run, place):
    (place / "data" / "udpos" / "test-el.tsv").write_text("x\tX\n")
    reference = train(run, "udpos")
    arguments = ("eval", reference, "--task", "udpos", "--langs", "el,de", "--dry-run")
    run("eval", reference, "--task", "udpos", "--langs", "de")
    cells = {"expression": reference, "task": "udpos", "cells": 2, "to compute": 1}
    assert run(*arguments) == {"train": [], "evaluate": [cells], "missing": []}
    assert run(*arguments) == {"train": [], "evaluate": [cells], "missing": []}
    modules = sorted((place / "zoo").iterdir())
    found = run("xtreme", "none", "--tasks", "mlm,bucc2018", "--dry-run")
    assert [(row["module"], row["on"]) for row in found["train"]] == [("mlm-alone", "none")]
    assert [(row["task"], row["cells"]) for row in found["evaluate"]] == [("bucc2018", 1)]
    assert sorted((place / "zoo").iterdir()) == modules


def test_unknown_options_and_missing_labels_are_told(run, place):
    bad = ("--set", "margins=ratio")
    error = run("eval", "none", "--task", "bucc2018", "--langs", "de", *bad, code=2)
    assert "margin" in error["what"]
    (place / "data" / "udpos" / "test-fr.tsv").write_text("le\nchat\n")
    error = run("eval", train(run, "udpos"), "--task", "udpos", "--langs", "fr", code=1)
    assert "no label" in error["what"]
    assert error["where"] == "test-fr.tsv:1"
