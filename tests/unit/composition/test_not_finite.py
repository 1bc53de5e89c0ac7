"""What is no number becomes neither a label, nor a score, nor JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.trained import add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.lazy_tensors import FileWeights, write_weights
from xstilts.cli import main
from xstilts.composition.load import load_expression
from xstilts.composition.merge import keep_merged
from xstilts.composition.predict import embed, logits
from xstilts.composition.task_model import TaskModel
from xstilts.config.load import load_task
from xstilts.data.examples import Example
from xstilts.errors import IntegrityError, NotFiniteError
from xstilts.files import without_nan
from xstilts.tasks.formats import FORMATS
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
        keep_merged("mnli/lora*1e30 + mnli/lora*-1e39", "huge", zoo, base)
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
