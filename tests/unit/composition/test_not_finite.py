"""What is no number becomes neither a label, nor a score, nor JSON."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.own_task import write_own_task
from support.trained import add_module, backbone_folder
from transformers import AutoTokenizer

from xstilts import Session
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.lazy_tensors import FileWeights, write_weights
from xstilts.cli import main
from xstilts.composition.load import load_expression
from xstilts.composition.merge import save_merged
from xstilts.composition.predict import embed, logits
from xstilts.composition.task_model import TaskModel
from xstilts.config.load import load_task
from xstilts.data.examples import Example
from xstilts.errors import IntegrityError, NotFiniteError, TrainingError
from xstilts.files import without_nan
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.metrics import perplexity
from xstilts.zoo import Zoo, read_manifest, write_manifest

NAN = float("nan")


@pytest.fixture(scope="module")
def pico(tmp_path_factory):
    return backbone_folder(tmp_path_factory.mktemp("nan") / "pico")


@pytest.fixture
def base(pico):
    return Backbone.load(str(pico))


@pytest.fixture
def zoo(tmp_path, base):
    zoo = Zoo(tmp_path / "zoo")
    for preset in ("lora", "seq_bn", "full"):
        add_module(zoo, base, "mnli", preset)
    return zoo


def spoil(zoo, reference, name="", value=NAN):
    """Damage a module so that its manifest agrees with its files."""
    entry = zoo.find(reference)
    path = entry.folder / (
        name or next(r.path for r in entry.manifest.files if r.role == "weights")
    )
    state = load_file(path)
    key = next(iter(state))
    state[key].view(-1)[0] = value
    save_file(state, path)

    def again(folder):
        for file in entry.folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return write_manifest(folder, read_manifest(folder).model_copy(update={"name": "bad"}))

    return zoo.add(again)


@pytest.mark.parametrize("preset", ["lora", "seq_bn", "full"])
@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_a_module_that_holds_nan_is_refused_where_it_is_used(zoo, base, preset, value):
    bad = spoil(zoo, f"mnli/{preset}", value=value)
    for text in (f"bad/{preset}", f"average(bad/{preset}, bad/{preset})"):
        with pytest.raises(IntegrityError, match="holds NaN or infinity") as caught:
            loaded = load_expression(text, zoo, base)
            dict(loaded.composed.encoder_weights)  # a whole encoder is read when it is used
            for name in loaded.composed.encoder_weights:
                assert loaded.composed.encoder_weights[name] is not None
        assert str(bad.folder) in caught.value.where


def test_a_head_that_holds_nan_is_refused(zoo, base):
    spoil(zoo, "mnli/lora", "head.safetensors")
    with pytest.raises(IntegrityError, match="holds NaN or infinity"):
        load_expression("bad/lora", zoo, base)


def test_a_merge_that_overflows_is_not_kept(zoo, base):
    with pytest.raises(NotFiniteError, match="comes out as NaN or infinity"):
        save_merged("mnli/lora*1e30 + mnli/lora*-1e39", "huge", zoo, base)
    assert [entry for entry in zoo.entries() if entry.manifest.name == "huge"] == []


@pytest.mark.parametrize(
    "text",
    [
        "merge_svd(mnli/lora*1e39, mnli/lora)",
        "merge_linear(mnli/lora*1e39, mnli/lora)",
        "merge_dare_ties(mnli/lora*1e39, mnli/lora, density=0.5)",
        "merge_dare_linear(mnli/lora*1e39, mnli/lora, density=0.5)",
        "merge_ties(mnli/lora*1e39, mnli/lora)",
        "merge_ties(mnli/seq_bn*1e39, mnli/seq_bn)",
        "merge_ties(mnli/lora*1e37, mnli/lora*1e37)",  # its factors are numbers, what it gives not
        "mnli/full*1e39 + mnli/full",
    ],
)
def test_no_merge_that_overflows_is_kept(zoo, base, text):
    with pytest.raises(NotFiniteError, match="NaN or infini"):
        save_merged(text, "huge", zoo, base)
    assert [entry for entry in zoo.entries() if entry.manifest.name == "huge"] == []


def test_scores_and_vectors_that_are_no_numbers_are_an_error(zoo, base):
    loaded = load_expression("mnli/seq_bn", zoo, base)
    task = load_task("mnli")
    rows = [Example("1", "en", {"text": "a man runs", "text_pair": "nobody"}, None)]
    features = FORMATS.get("classification").encode(rows, base.tokenizer, task, 32)
    model = TaskModel(base, loaded.composed, {"mnli": loaded.head})
    with model.attached():
        assert np.isfinite(logits(model, features, "mnli")[0]).all()
        next(iter(loaded.composed.nodes.values())).up.bias.data[0] = NAN
        with pytest.raises(NotFiniteError, match="scores are NaN or infinite"):
            logits(model, features, "mnli")
        with pytest.raises(NotFiniteError, match="sentence vectors of layer 3"):
            embed(model, features, [3], "mean")


SETTINGS = {"batch_size": 4, "warmup": 0, "schedule": "constant", "clip": 0, "max_steps": 1}


@pytest.fixture
def session(pico, tmp_path, monkeypatch):
    write_own_task(tmp_path)
    for name in ("home", "cache"):
        monkeypatch.setenv(f"XSTILTS_{name.upper()}", str(tmp_path / name))
    places = {name: tmp_path / name for name in ("data", "zoo", "results")}
    return Session(backbone=str(pico), offline=True, quiet=True, **places)


@pytest.mark.parametrize("method", ["lora", "seq_bn", "full"])
@pytest.mark.parametrize(("select", "words"), [("none", "after step 1"), ("best", "by step 1")])
def test_a_training_whose_last_step_overflows_keeps_nothing(
    session, tmp_path, method, select, words
):
    train = {**SETTINGS, "lr": 1e30, "select": select}  # weights of that size are still numbers
    with pytest.raises(TrainingError, match=words) as caught:
        session.train(str(tmp_path / "tasks/own.yaml"), method=method, settings={"train": train})
    assert "train.lr" in caught.value.hint
    assert list(session.zoo.entries()) == []


def test_rows_of_one_language_that_give_nan_are_named(session, pico, tmp_path):
    base = shutil.copytree(pico, tmp_path / "spike")
    own, rows = str(tmp_path / "tasks/own.yaml"), tmp_path / "data/own/test-de.jsonl"
    rows.write_text(rows.read_text().replace('"text": "', '"text": "? '))
    for path in rows.parent.glob("*-en.jsonl"):
        path.write_text(path.read_text().replace("?", "there"))
    state = load_file(base / "model.safetensors")
    mark = AutoTokenizer.from_pretrained(base)("?")["input_ids"][-2]
    state["embeddings.word_embeddings.weight"][mark] = 3e38
    save_file(state, base / "model.safetensors", metadata={"format": "pt"})
    used = {"backbone": str(base)}
    session.train(own, method="seq_bn", settings={"train": {**SETTINGS, "lr": 1e-3}}, **used)
    with pytest.raises(NotFiniteError) as caught:
        session.evaluate("own", own, **used)
    assert caught.value.where.startswith("own own de: a batch of 12 rows")
    assert [cell.scores[0].language for cell in session.results.cells()] == ["en"]


def test_a_perplexity_that_is_no_number_is_an_error():
    assert perplexity.compute([(1418.0, 2)])["loss"] == 709.0
    with pytest.raises(NotFiniteError, match="no finite perplexity"):
        perplexity.compute([(1420.0, 2)])


def test_predict_gives_no_label_for_nan(zoo, pico, capsys):
    spoil(zoo, "mnli/seq_bn")
    asked = ["predict", "bad", "--text", "a man", "--text2", "nobody", "--backbone", str(pico)]
    with pytest.raises(SystemExit) as caught:
        main([*asked, "--zoo", str(zoo.root)])
    output = capsys.readouterr()
    assert caught.value.code == 5
    assert output.out == ""
    assert "NaN or infinity" in " ".join(output.err.split())


def test_weights_are_checked_as_they_are_read_and_written(tmp_path):
    weights = {"a": torch.tensor([[1.0, NAN]])}
    with pytest.raises(NotFiniteError):
        write_weights(tmp_path / "w.safetensors", weights)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(IntegrityError, match="tensor 'a' holds NaN"):
        FileWeights(tmp_path / "w.safetensors")["a"]


def test_json_holds_null_instead():
    value = {"a": [NAN, 1.5, float("-inf")], "b": ({"c": NAN}, "NaN"), "d": None}
    text = json.dumps(without_nan(value), allow_nan=False)
    assert json.loads(text) == {"a": [None, 1.5, None], "b": [{"c": None}, "NaN"], "d": None}
