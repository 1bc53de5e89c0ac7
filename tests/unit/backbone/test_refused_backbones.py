"""Models that cannot be backbones are refused from their config, before any weight is read."""

from __future__ import annotations

import json

import pytest
from support.trained import backbone_folder
from transformers import PreTrainedTokenizer

from xstilts.backbone.backbone import Backbone
from xstilts.errors import DataError, UsageError, XstiltsError


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
    with pytest.raises(XstiltsError, match=r"the tokenizer of backbone '.*base' cannot be read"):
        Backbone.load(str(folder), offline=True)


@pytest.mark.parametrize("value", ["x", 0, -1, 1.5, None, True])
def test_sizes_that_are_none(value, tmp_path):
    folder = backbone_folder(tmp_path / "base")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"hidden_size": value}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DataError, match=r"config.json of backbone .* is broken"):
        Backbone.load(str(folder), offline=True)
