"""Scores of the real encoder against libraries that know nothing of this project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.files import SHARED, needs_shared

from xstilts.cli import main
from xstilts.config.load import load_task
from xstilts.data.pairs import load_pair
from xstilts.data.sources import load

pytestmark = [needs_shared, pytest.mark.slow]

TATOEBA = ["jv", "te", "ta", "sw", "th", "kk", "ml", "ka", "de", "hi"]
QUICK = ("max_steps=160", "batch_size=16", "lr=1e-3", "select=none")


@pytest.fixture
def call(tmp_path, monkeypatch, capsys, real_backbone):
    """Run a command on the encoder; its JSON."""
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
    where = ["--data", str(SHARED), "--zoo", str(tmp_path / "zoo"), "--offline", "--json", "-q"]

    def run(*words):
        with pytest.raises(SystemExit) as caught:
            main([*where, *words, "--backbone", str(real_backbone)])
        output = capsys.readouterr()
        assert not caught.value.code, output.err
        return json.loads(output.out)

    return run


def test_tatoeba_is_that_of_sentence_transformers_to_the_digit(call, real_backbone):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    loaded = Transformer(str(real_backbone), max_seq_length=512)
    library = SentenceTransformer(modules=[loaded, Pooling(384, "mean")], device="cpu")
    scored = call(
        "eval", "none", "--task", "tatoeba", "--langs", ",".join(TATOEBA), "--layers", "12"
    )
    ours = {row["language"]: row["value"] for row in scored["scores"] if row["main"]}
    theirs = {}
    for code in TATOEBA:
        pair = load_pair(load_task("tatoeba"), code, SHARED)
        foreign, english = (
            library.encode(
                [row.fields["text"] for row in side],
                convert_to_tensor=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            for side in (pair.source, pair.target)
        )
        nearest = (english @ foreign.T).argmax(1)
        right = (nearest == torch.arange(len(english))).sum().item()
        theirs[code] = 100 * right / len(english)
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert len(set(theirs.values())) > 5


def predictions_of(folder: Path, task: str, language: str) -> list[str]:
    """The predictions file of a task in a language: its lines, or the labels of JSON lines."""
    for path in (folder / "home" / "results" / "cells").glob("*/*/cell.json"):
        identity = json.loads(path.read_text(encoding="utf-8"))["identity"]
        if (identity["task"], identity["language"]) == (task, language):
            file = next(path.parent.glob("predictions.*"))
            lines = file.read_text(encoding="utf-8").split("\n")[:-1]
            if file.suffix == ".tsv":
                return lines
            return [str(json.loads(line)["label"]) for line in lines]
    raise AssertionError(f"no predictions of {task} in {language}")


@pytest.mark.parametrize(
    ("trained", "task", "language"), [("mnli", "xnli_mini", "sw"), ("copa", "xcopa", "id")]
)
def test_a_zero_shot_accuracy_is_that_of_scikit_learn(call, tmp_path, trained, task, language):
    from sklearn.metrics import accuracy_score

    settings = [word for text in QUICK for word in ("--set", f"train.{text}")]
    made = call("train-adapter", trained, "--method", "lora", *settings)
    scored = call("eval", made["reference"], "--task", task, "--langs", language)
    gold = [row.target for row in load(load_task(task), "test", language, SHARED)]
    predicted = predictions_of(tmp_path, task, language)
    assert scored["scores"][0]["value"] == pytest.approx(100 * accuracy_score(gold, predicted))
    assert len(set(predicted)) > 1


def test_a_zero_shot_entity_score_is_that_of_seqeval(call, tmp_path):
    from seqeval.metrics import f1_score

    settings = [word for text in QUICK for word in ("--set", f"train.{text}")]
    made = call("train-adapter", "wikigold", "--method", "lora", *settings)
    scored = call("eval", made["reference"], "--task", "uner_mini", "--langs", "da")
    gold = [row.target for row in load(load_task("uner_mini"), "test", "da", SHARED)]
    sentences = "\n".join(predictions_of(tmp_path, "uner_mini", "da")).split("\n\n")
    predicted = [text.split("\n") for text in sentences if text]
    assert [len(tags) for tags in predicted] == [len(tags) for tags in gold]
    f1 = next(row["value"] for row in scored["scores"] if row["main"])
    assert f1 == pytest.approx(100 * f1_score([list(tags) for tags in gold], predicted))
    assert f1 > 0
