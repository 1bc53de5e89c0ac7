"""`xstilts align` on a small sandbox world: all blocks in one pass, snapshots, reuse."""

from __future__ import annotations

import pytest

from xstilts.cli import main
from xstilts.composition import predict

pytestmark = pytest.mark.long

FAST = ("--set", "train.epochs=1", "--set", "train.lr=1e-3")


def test_align(run, monkeypatch, capsys):
    run("train-adapter", "mnli", *FAST, "--set", "train.save_every=2")
    embedded = []
    real = predict.embed

    def counted(model, features, layers, *rest, **named):
        embedded.append((len(features), tuple(layers)))
        return real(model, features, layers, *rest, **named)

    monkeypatch.setattr(predict, "embed", counted)
    arguments = ("align", "none", "mnli", "--task", "tatoeba,tico19", "--langs", "qab,qag")
    first = run(*arguments)
    blocks = {row["layer"] for row in first["scores"]}
    assert blocks == {0, 1, 2, 3, 4}
    assert first["computed"] == 2 * 2 * 2 * 5
    assert all(layers == (0, 1, 2, 3, 4) for _, layers in embedded)
    # 30 sentences a side, two languages and the source language of two tasks, two expressions
    assert sum(rows for rows, _ in embedded) <= 2 * 2 * 4 * 30
    assert {row["domain"] for row in first["scores"]} >= {"medical"}
    assert not any(row["main"] for row in first["scores"])

    seen = len(embedded)
    again = run(*arguments)
    assert (again["computed"], again["cached"]) == (0, first["computed"])
    assert again["scores"] == first["scores"] and len(embedded) == seen

    with pytest.raises(SystemExit):
        main(["--world", "sandbox", "-q", *arguments])
    out = capsys.readouterr().out
    assert out.count("\ntest, n = 30 a language; ±: standard error\n") == 2  # one a bitext
    assert out.count("none ±") == out.count("mnli ±") == 2 * 5

    # XTREME's direction is what `eval` scores
    plain = run("eval", "mnli", "--task", "tatoeba", "--langs", "qab", "--layer", "3")
    own = [
        row["value"]
        for row in first["scores"]
        if (row["expression"], row["task"], row["language"]) == ("mnli", "tatoeba", "qab")
        and (row["layer"], row["metric"]) == (3, "from_pivot")
    ]
    assert own == [plain["scores"][0]["value"]]

    seen = len(embedded)
    over = run("align", "mnli", "--task", "tatoeba", "--langs", "qab", "--layers", "2", "--steps")
    # the start is the untouched backbone and the last snapshot the module itself: both are there
    assert sum(rows for rows, _ in embedded[seen:]) <= 2 * 30
    steps = [row["step"] for row in over["scores"] if row["metric"] == "cka"]
    assert steps == [0, 2, 4, -1]
    assert "mnli-step2" in {row["intermediate"] for row in over["scores"]}


def test_snapshots_of_a_whole_encoder_are_of_their_steps(run):
    run("train", "mnli", *FAST, "--set", "train.save_every=2", "--name", "whole")
    both = ("align", "none", "whole", "--task", "tatoeba", "--langs", "qab", "--layers", "4")
    rows = run(*both, "--steps")["scores"]
    found = {row["intermediate"]: row["value"] for row in rows if row["metric"] == "mean_cosine"}
    assert found["whole-step0"] == found["none"]
    assert len({found["none"], found["whole-step2"], found["whole-step4"]}) == 3


def test_what_cannot_be_measured_is_refused(run):
    assert "no bitext" in run("align", "none", "--task", "xnli", code=2)
    assert "no bitext" in run("align", "none", "--task", "bucc2018", code=2)
