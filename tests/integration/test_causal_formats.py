"""Every kind of task on a causal backbone, whose tokenizer is a language model's."""

from __future__ import annotations

import json
import math

import pytest
from support.format_files import CONTEXT, FILES, write_files
from support.models import encoder
from support.tokenizers import byte_tokenizer
from support.trained import TEXTS

from xstilts import Session
from xstilts.data import convert
from xstilts.errors import UsageError
from xstilts.tasks.prediction_files import score_file

STEPS = {"train": {"max_steps": 2, "batch_size": 2}}
TASKS = {  # task, trained on, language, labels
    "sst2": ("sst2", "en", None),
    "xcopa": ("copa", "it", "xcopa/test.it.jsonl"),
    "udpos": ("udpos", "de", None),
    "xquad": ("squad1", "de", "xquad/xquad.de.json"),
    "squad2": ("squad2", "en", "squad2/dev-v2.0.json"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("place"))
    tokenizer = byte_tokenizer([*TEXTS, CONTEXT] * 20, 300)
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": None, "num_hidden_layers": 2}
    encoder("llama", **sizes).save_pretrained(folder / "lm")
    tokenizer.save_pretrained(folder / "lm")
    (folder / "raw").mkdir()
    for side in ("deu", "eng"):
        (folder / "raw" / f"tatoeba.deu-eng.{side}").write_text("\n".join(TEXTS) + "\n")
    convert("tatoeba", folder / "raw", folder / "data" / "tatoeba")
    return folder


@pytest.fixture(scope="module")
def session(place):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("home", "cache"):
            patch.setenv(f"XSTILTS_{name.upper()}", str(place / name))
        folders = {name: place / name for name in ("data", "zoo", "results")}
        yield Session(backbone=str(place / "lm"), offline=True, **folders)


def cell(place, row):
    folder = place / "results" / "cells" / row.cell[:2] / row.cell
    return next(folder.glob("predictions.*"))


@pytest.mark.parametrize("task", TASKS)
def test_it_is_trained_and_scored(session, place, task, capfd):
    trained, language, labels = TASKS[task]
    made = session.train(trained, method="lora", settings=STEPS)
    assert made.manifest.options["targets"] == ["query", "value"]
    found = session.evaluate(made.reference, task, langs=[language])
    scores = {row.metric: row.value for row in found.scores}
    assert all(math.isfinite(value) for value in scores.values())
    path = cell(place, found.scores[0])
    if labels is not None:
        again = score_file(task, path, place / "data" / labels, language)
        assert again == pytest.approx({name: scores[name] for name in again})
    elif task == "udpos":
        words = FILES["udpos/test-de.tsv"].split("\n\n")
        said = path.read_text().strip().split("\n\n")
        assert [len(part.split("\n")) for part in said] == [
            len(part.strip().split("\n")) for part in words
        ]
    else:
        right = sum(
            said == gold
            for said, gold in zip(
                path.read_text().split(), ["negative", "positive", "positive"], strict=True
            )
        )
        assert scores["accuracy"] == pytest.approx(100 * right / 3)
    remark = f"lm reads at most {64} sub-words"
    assert [line for line in found.outcome.remarks if remark in line] == found.outcome.remarks != []
    assert found.outcome.remarks[0] in capfd.readouterr().err


def test_an_answer_may_be_none(session, place):
    reference = session.train("squad2", method="lora", settings=STEPS).reference
    for threshold, empty in ((-1000, True), (1000, False)):
        options = {"null_threshold": threshold}
        found = session.evaluate(reference, "squad2", langs=["en"], options=options)
        answers = json.loads(cell(place, found.scores[0]).read_text())
        assert [not answer for answer in answers.values()] == [empty] * 2


def test_masked_words_are_refused(session):
    with pytest.raises(UsageError, match="cannot run on backbone lm") as refused:
        session.train("mlm", method="lora", settings=STEPS)
    assert "before a token" in refused.value.where


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_sentences_find_their_like(session, place, pooling):
    options = {"margin": "absolute", "threshold": 0.9999}
    found = session.evaluate("none", "bucc2018", langs=["de"], pooling=pooling, options=options)
    lines = cell(place, found.scores[0]).read_text().splitlines()
    assert {tuple(line.split("\t")) for line in lines} >= {(f"de-{n}", f"en-{n}") for n in range(6)}


def test_languages_are_aligned_in_every_block(session):
    found = session.align("none", "tatoeba", langs=["de"], pooling="last")
    rows = {(row.layer, row.metric): row.value for row in found.scores}
    assert {layer for layer, _ in rows} == {0, 1, 2}
    assert rows[0, "from_pivot"] == 20  # below the first block every last token is the same
    for layer in (1, 2):  # both sides hold the same sentences
        assert rows[layer, "from_pivot"] == 100
        assert rows[layer, "cka"] == pytest.approx(100, abs=1e-3)


def test_modules_are_ranked(session):
    names = [session.train(name, method="lora", settings=STEPS).reference for name in ("sst2",)]
    found = session.rank("sst2", names, shots=2)
    (row,) = found.outcome.rows
    assert set(row.estimates) == {"text", "task", "probe", "logme"}
    assert all(math.isfinite(value) for value in row.estimates.values())
    assert 0 < row.estimates["probe"] < 1 and -1 <= row.estimates["text"] <= 1 + 1e-6
