"""Tasks of the shared real data whose training rows are here: two steps of each, by the command."""

from __future__ import annotations

import json

import pytest
from support.files import SHARED, needs_shared
from support.trained import backbone_folder

from xstilts.cli import main
from xstilts.config.load import load_task
from xstilts.zoo import Zoo

pytestmark = [pytest.mark.long, needs_shared]

TASKS = [
    "commonsenseqa", "conjnli", "erg_supertags", "hellaswag", "indonli_translated", "mnli", "ocnli",
    "paws_wiki", "pros_cons", "sentence_polarity", "sib200", "sick", "snli", "socialiqa",
    "squadshifts", "ud_ewt", "wikineural", "winogrande", "wnut17", "xed", "xsid_intent",
    "xsid_slots",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real_tasks")
    backbone_folder(folder / "pico", max_position_embeddings=386)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_two_steps(task, place, capsys, monkeypatch):
    monkeypatch.setenv("XSTILTS_HOME", str(place / "home"))
    monkeypatch.setenv("XSTILTS_CACHE", str(place / "cache"))
    settings = ["max_steps=2", "batch_size=2", "limit=4", "select=last"]
    options = [text for setting in settings for text in ("--set", f"train.{setting}")]
    where = ["--data", str(SHARED), "--zoo", str(place / "zoo"), "--offline", "--json", "-q"]
    with pytest.raises(SystemExit) as caught:
        main([*where, "train-adapter", task, *options, "--backbone", str(place / "pico")])
    output = capsys.readouterr()
    assert caught.value.code in (0, None), output.err
    made = json.loads(output.out)
    assert made["steps"] == 2
    manifest = Zoo(place / "zoo").find(made["reference"]).manifest
    spec = load_task(task)
    assert manifest.labels == spec.labels
    assert manifest.source_language == spec.source_language
