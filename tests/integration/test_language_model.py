"""A causal language model without a padding token, from files to scores, by the command line."""

from __future__ import annotations

import json

import pytest
from support.format_files import write_files
from support.models import encoder
from support.tokenizers import byte_tokenizer
from support.trained import TEXTS

from xstilts.backbone.backbone import Backbone
from xstilts.cli import main

FAST = ("--set", "train.max_steps=2", "--set", "train.batch_size=2")
TASKS = {"sst2": "", "copa": "xcopa", "udpos": "", "squad1": "xquad", "squad2": ""}
"""Training task to another that its head evaluates."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("place"))
    tokenizer = byte_tokenizer(TEXTS * 20, 300)
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": None}
    encoder("qwen3", max_position_embeddings=512, **sizes).save_pretrained(folder / "lm")
    tokenizer.save_pretrained(folder / "lm")
    return folder


@pytest.fixture
def run(place, capsys, monkeypatch):
    monkeypatch.setenv("XSTILTS_HOME", str(place / "home"))
    monkeypatch.setenv("XSTILTS_CACHE", str(place / "cache"))
    where = ("--data", str(place / "data"), "--zoo", str(place / "zoo"), "--offline", "--json")

    def call(*arguments, code=0, on=("--backbone", str(place / "lm"))):
        with pytest.raises(SystemExit) as caught:
            main([*where, *arguments, *on])
        output = capsys.readouterr()
        assert caught.value.code in (code, None), output.err
        call.said = output.err
        return json.loads(output.out if not code else output.err.splitlines()[-1])

    return call


@pytest.mark.long
@pytest.mark.parametrize("method", ["lora", "seq_bn"])
@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_head_trains_and_is_scored(run, task, method):
    reference = run("train-adapter", task, "--method", method, *FAST)["reference"]
    assert "'<|end|>' stands behind short rows" in run.said
    scores = run("eval", reference, "--task", TASKS[task] or task)["scores"]
    assert all(row["n"] > 0 and 0 <= row["value"] <= 100 for row in scores)
    assert run("zoo", "verify", reference, on=())


def test_sentence_vectors_are_pooled_in_three_ways(run):
    values = {}
    for pooling in ("mean", "last", "cls"):
        arguments = ("eval", "none", "--task", "bucc2018", "--langs", "de", "--pooling", pooling)
        same = ("--set", "margin=absolute", "--set", "threshold=0.9999")
        rows = run(*arguments, *same)["scores"]
        values[pooling] = {row["metric"]: row["value"] for row in rows}
        assert {row["pooling"] for row in rows} == {pooling}
    # both sides hold the same sentences
    assert values["mean"]["recall"] == values["last"]["recall"] == 100.0


@pytest.mark.long
def test_what_is_exported_is_a_backbone_again(run, place):
    reference = run("train-adapter", "sst2", "--method", "lora", "--name", "out", *FAST)[
        "reference"
    ]
    merged = str(place / "merged")
    assert run("export", "merged", reference, "--to", merged)["difference"] < 1e-5
    languages = ("--task", "bucc2018", "--langs", "de")
    assert run("eval", "none", *languages, on=("--backbone", merged))["computed"] == 1
    refused = {
        "adapters": "cannot load a module of a qwen3 backbone",
        "hf": "computes something else",
    }
    for kind, reason in refused.items():
        error = run("export", kind, reference, "--to", str(place / kind), code=2)
        assert reason in error["what"]


def test_full_fine_tuning_keeps_its_config(run):
    reference = run("train", "sst2", *FAST)["reference"]
    assert run("eval", reference, "--task", "sst2")["computed"] == 1


def test_masked_language_modelling_is_refused_with_the_reason(run):
    error = run("train-adapter", "mlm", *FAST, code=2)
    assert "cannot run on backbone lm" in error["what"]
    assert "only what stands before a token" in error["where"]


def test_rows_are_parted_and_ended_by_what_ends_a_text(place):
    from xstilts.tasks.formats._pieces import template, tokenise, unknown_id

    tokenizer = Backbone.load(str(place / "lm")).tokenizer
    end = tokenizer.eos_token_id
    assert tokenizer.pad_token == "<|end|>"
    pair, single = template(tokenizer, pair=True), template(tokenizer, pair=False)
    parts = (pair.prefix, pair.middle, pair.suffix, single.prefix, single.suffix)
    assert [part.tolist() for part in parts] == [[], [end], [end], [], [end]]
    written = tokenise(tokenizer, ["a <|end|> b"]).values.tolist()
    assert end not in written and unknown_id(tokenizer) in written
