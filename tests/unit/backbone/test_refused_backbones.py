"""Models that cannot be backbones are refused from their config, before any weight is read."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import encoder
from support.tokenizers import byte_tokenizer
from support.trained import TEXTS, backbone_folder
from transformers import PreTrainedTokenizer

from xstilts.backbone.backbone import Backbone
from xstilts.config.load import load_task
from xstilts.errors import DataError, UsageError, XstiltsError
from xstilts.tasks.encoding import remarks


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "bart", "is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_type": "vit", "image_size": 224, "patch_size": 16}, "reads images"),
        ({"model_type": "clip", "vision_config": {}}, "reads images"),
        (
            {"model_type": "xlm-roberta", "quantization_config": {"quant_method": "bitsandbytes"}},
            "quantised",
        ),
        ({"model_type": "eurobert", "auto_map": {"AutoModel": "a.B"}}, "code comes with the rep"),
        ({"model_type": "gpt2"}, "is of type 'gpt2'"),
    ],
)
def test_configs(config, says, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        Backbone.load(str(tmp_path), offline=True)


class Payload:
    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return (type(self.sentinel).touch, (self.sentinel,))


def test_a_pickle_is_read_for_its_tensors_alone(tmp_path, monkeypatch):
    import transformers

    folder, given = backbone_folder(tmp_path / "base"), {}
    load = transformers.PreTrainedModel.from_pretrained.__func__

    def seen(cls, *places, **named):
        given.update(named)
        return load(cls, *places, **named)

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(seen))
    whole = Backbone.load(str(folder), offline=True).identity.fingerprint
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert Backbone.load(str(folder), offline=True).identity.fingerprint == whole
    assert given["weights_only"] is True
    torch.save({**weights, "more": Payload(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(XstiltsError, match=r"Unable to load weights|more than tensors"):
        Backbone.load(str(folder), offline=True)
    assert not (tmp_path / "ran").exists()


def test_a_slow_tokenizer_is_refused_before_the_weights_are_read(tmp_path, monkeypatch):
    import transformers

    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    slow = PreTrainedTokenizer.__new__(PreTrainedTokenizer)
    monkeypatch.setattr(
        transformers.AutoTokenizer, "from_pretrained", lambda *_given, **_named: slow
    )
    with pytest.raises(UsageError, match="no fast tokenizer"):
        Backbone.load(str(tmp_path), offline=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", ""),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", '{"version": "1.0", "model'),
        ("tokenizer.json", None),
        ("tokenizer_config.json", ""),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"tokenizer_class": "Nothing"}'),
    ],
)
def test_a_broken_tokenizer_is_named(name, content, tmp_path):
    folder = backbone_folder(tmp_path / "base")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content, encoding="utf-8")
    # transformers 5 takes its general class for one that it does not know, which knows no padding
    said = r"the tokenizer of backbone '.*base' (cannot be read|has no padding token)"
    with pytest.raises(XstiltsError, match=said):
        Backbone.load(str(folder), offline=True)


@pytest.mark.parametrize("value", ["x", 0, -1, 1.5, None, True])
def test_sizes_that_are_none(value, tmp_path):
    folder = backbone_folder(tmp_path / "base")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"hidden_size": value}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DataError, match=r"config.json of backbone .* is broken"):
        Backbone.load(str(folder), offline=True)


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_act": "nothing"},
        {"num_attention_heads": 5},
        {"pad_token_id": 9999},
        {"attention_probs_dropout_prob": 2.0},
    ],
)
def test_what_a_model_class_refuses_is_named(values, tmp_path):
    folder = backbone_folder(tmp_path / "base")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(DataError, match=r"base' (cannot be built from its files|is broken)"):
        Backbone.load(str(folder), offline=True)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"metadata": {}}', "[]", "{"])
def test_a_broken_index_of_weights_is_named(index, tmp_path):
    folder = backbone_folder(tmp_path / "base")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(DataError, match="cannot be built from its files"):
        Backbone.load(str(folder), offline=True)


@pytest.mark.parametrize("model_type", ["xlm-roberta", "llama", "mt5", "distilbert"])
def test_a_config_with_fewer_blocks_than_the_weights_is_refused(model_type, tmp_path):
    folder = backbone_folder(tmp_path / "base", model_type)
    whole = Backbone.load(str(folder), offline=True).identity.num_layers
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name in ("num_hidden_layers", "num_layers", "n_layers"):
        if name in config:
            config[name] = whole - 1
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"][: whole - 1]
    path.write_text(json.dumps(config))
    with pytest.raises(DataError, match=f"more blocks in its weights than the {whole - 1} of"):
        Backbone.load(str(folder), offline=True)


@pytest.mark.parametrize("model_type", ["llama", "bert"])
def test_a_tokenizer_without_padding_pads_with_the_end_of_a_causal_model_s_text(
    model_type, tmp_path
):
    tokenizer = byte_tokenizer(TEXTS * 20)
    model = encoder(model_type, vocab_size=len(tokenizer), pad_token_id=0, num_hidden_layers=1)
    for one in (model, tokenizer):
        one.save_pretrained(tmp_path / "lm")
    if model_type == "bert":
        with pytest.raises(DataError, match="has no padding token"):
            Backbone.load(str(tmp_path / "lm"), offline=True)
        return
    here = Backbone.load(str(tmp_path / "lm"), offline=True)
    assert here.padding_remark.startswith("lm has no padding token of its own: '<|end|>' stands")
    assert Backbone.load(str(backbone_folder(tmp_path / "own")), offline=True).padding_remark == ""


@pytest.mark.parametrize(("said", "reads"), [(32, 32), (0, 64), (500, 64)])
def test_rows_are_as_long_as_a_yaml_and_the_config_allow(said, reads, tmp_path):
    lines = [f"repo: {backbone_folder(tmp_path / 'base')}", "retrieval_layer: 2"]
    (tmp_path / "mine.yaml").write_text("\n".join([*lines, f"max_length: {said}"]))
    here = Backbone.load(str(tmp_path / "mine.yaml"), offline=True)
    assert here.max_length == reads
    found = remarks(load_task("xnli"), here, ["de"], 48)
    assert found == (
        [f"xnli: max_length is 48, and {here.identity.name} reads at most 32 sub-words"]
        if reads < 48
        else []
    )


def changed(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pad_token_id", None),
        ("layer_norm_eps", "1e-5"),
        ("layer_norm_eps", -1.0),
        ("layer_norm_eps", float("nan")),
    ],
)
def test_values_with_which_nothing_can_be_computed(name, value, tmp_path):
    folder = backbone_folder(tmp_path / "base")
    changed(folder, **{name: value})
    with pytest.raises(DataError, match=f"config.json of backbone .* broken: .*{name}"):
        Backbone.load(str(folder), offline=True)


@pytest.mark.parametrize(
    "values",
    [
        {"return_dict": False},
        {"torchscript": True},
        {"output_hidden_states": True, "output_attentions": True},
        {"torch_dtype": "bfloat16"},
    ],
)
def test_what_a_config_says_of_calls_changes_nothing(values, tmp_path):
    folder = backbone_folder(tmp_path / "base")
    ids = torch.tensor([[0, 5, 6, 2]])
    with torch.inference_mode():
        before = Backbone.load(str(folder), offline=True)(ids, torch.ones_like(ids))
        changed(folder, **values)
        after = Backbone.load(str(folder), offline=True)(ids, torch.ones_like(ids))
    assert torch.equal(before, after)


def test_an_adapter_beside_the_weights_is_no_other_backbone(tmp_path):
    """Transformers would load the model that the adapter names instead."""
    folder = backbone_folder(tmp_path / "base")
    values = {"peft_type": "LORA", "base_model_name_or_path": "me/other", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="holds an adapter") as caught:
        Backbone.load(str(folder), offline=True)
    assert "zoo import" in caught.value.hint


def test_whole_numbers_are_no_weights_of_a_backbone(tmp_path):
    folder = backbone_folder(tmp_path / "base")
    path = folder / "model.safetensors"
    tensors = {k: t.to(torch.int8) if "query" in k else t for k, t in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"base' (cannot be built|holds whole numbers)"):
        Backbone.load(str(folder), offline=True)


@pytest.mark.parametrize("model_type", ["xlm-roberta", "llama", "mt5"])
def test_an_adapter_among_the_weights_is_not_left_out(model_type, tmp_path):
    folder = backbone_folder(tmp_path / "base", model_type)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    inner = next(name for name in tensors if ".0." in name and name.endswith("weight"))
    extra = {inner.replace("weight", "lora_A.weight"): torch.ones(4, 16)}
    save_file(tensors | extra, path, metadata={"format": "pt"})
    with pytest.raises(DataError, match="has more in the blocks of its weights") as caught:
        Backbone.load(str(folder), offline=True)
    assert "lora_A" in caught.value.where
    rotation = {inner.rpartition(".0.")[0] + ".0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    save_file(tensors | rotation, path, metadata={"format": "pt"})
    assert Backbone.load(str(folder), offline=True).identity.model_type == model_type
