"""What a config changes and no weight shows is part of which backbone it is."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from support.models import tokens
from support.trained import TEXTS, add_module, backbone_folder
from transformers import AutoConfig

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.settings import unusual_settings
from xstilts.errors import BackboneMismatchError
from xstilts.files import digest
from xstilts.session import Session

CHANGES = {
    "hidden_act": "relu",
    "layer_norm_eps": 0.5,
    "num_attention_heads": 4,
    "pad_token_id": 2,
}
SMALL = {"hidden_size": 64, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return backbone_folder(tmp_path_factory.mktemp("base") / "tiny", **SMALL)


def changed(base, folder, **values):
    """A copy of a model folder with other values in its config."""
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_weights_with_another_config_are_another_backbone(base, name, tmp_path):
    plain = Backbone.load(str(base), offline=True)
    other = Backbone.load(str(changed(base, tmp_path / "b", **{name: CHANGES[name]})), offline=True)
    ids, mask = tokens(vocab=plain.identity.vocab_size)
    assert not torch.allclose(plain(ids, mask), other(ids, mask), atol=1e-4)
    assert plain.identity.key == plain.identity.fingerprint == other.identity.fingerprint
    assert other.identity.settings == {name: CHANGES[name]}
    assert other.identity.key == digest([plain.identity.fingerprint, other.identity.settings])
    assert name in plain.identity.differences(other.identity)
    assert name in other.identity.differences(plain.identity)


def test_what_changes_no_output_changes_no_key(base, tmp_path):
    same = {"use_cache": False, "classifier_dropout": 0.3, "hidden_dropout_prob": 0.0}
    other = changed(base, tmp_path / "b", initializer_range=0.5, label2id={"a": 0}, **same)
    found = [Backbone.load(str(folder), offline=True).identity for folder in (base, other)]
    assert found[0].key == found[1].key
    assert found[0].differences(found[1]) == []


LARGE = {"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24}
DEBERTA = {
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
}


@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("bert", {}),
        ("bert", {"hidden_size": 384}),  # of multilingual E5 small, with 12 heads
        ("distilbert", {}),
        ("xlm-roberta", {"layer_norm_eps": 1e-5, "type_vocab_size": 1}),
        ("xlm-roberta", {"layer_norm_eps": 1e-5} | LARGE),
        ("xlm-roberta-xl", {}),
        ("xmod", {"layer_norm_eps": 1e-5, "languages": ["en_XX", "de_DE"]}),
        ("deberta-v2", DEBERTA | {"hidden_size": 768, "num_attention_heads": 12}),
        ("modernbert", {}),
    ],
)
def test_published_checkpoints_are_known_by_their_weights_alone(model_type, values):
    assert unusual_settings(AutoConfig.for_model(model_type, **values)) == {}


def test_the_rotation_is_named_alike_in_both_versions_of_transformers():
    """The values that 4.57 calls `rope_theta` and `rope_scaling`, and 5 `rope_parameters`."""
    scaling = {"rope_type": "linear", "factor": 2.0}
    config = AutoConfig.for_model("llama", rope_theta=5e5, rope_scaling=scaling)
    assert unusual_settings(config) == {"rope": {"rope_theta": 5e5, **scaling}}


def test_neither_vectors_nor_scores_are_shared(base, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/de.txt").write_text("\n".join(TEXTS) + "\n")
    (tmp_path / "own/en.txt").write_text("\n".join(reversed(TEXTS)) + "\n")
    (tmp_path / "own.yaml").write_text(
        "title: Own\nformat: retrieval\nlanguages: [de]\nmetric: tatoeba\nselect_split: ''\n"
        "sources: [{reader: bitext, files: "
        "{test.source: own/de.txt, test.target: own/en.txt}}]\n"
    )
    folders = [base, changed(base, tmp_path / "b", hidden_act="relu")]
    for folder in folders:
        session = Session(
            backbone=str(folder),
            zoo=tmp_path / "zoo",
            data=tmp_path,
            results=tmp_path / "results",
            cache=tmp_path / "cache",
            quiet=True,
        )
        found = session.evaluate("none", str(tmp_path / "own.yaml"))
        assert (found.outcome.computed, len(found.scores)) == (1, 1)
    assert len(list((tmp_path / "cache/vectors").iterdir())) == 2


def test_a_module_refuses_the_other_config_and_names_the_value(base, tmp_path):
    plain = Backbone.load(str(base), offline=True)
    other = Backbone.load(str(changed(base, tmp_path / "b", layer_norm_eps=0.5)), offline=True)
    session = Session(zoo=tmp_path / "zoo", cache=tmp_path / "cache", quiet=True)
    entry = add_module(session.zoo, plain, "mnli")
    assert session.zoo.find("mnli", plain.identity) == entry
    with pytest.raises(BackboneMismatchError, match="layer_norm_eps"):
        session.zoo.find("mnli", other.identity)


def test_a_manifest_of_before_fits_by_its_weights_and_is_written_as_it_was(base, tmp_path):
    plain = Backbone.load(str(base), offline=True)
    other = Backbone.load(str(changed(base, tmp_path / "b", layer_norm_eps=0.5)), offline=True)
    session = Session(zoo=tmp_path / "zoo", cache=tmp_path / "cache", quiet=True)
    manifest = add_module(session.zoo, plain, "mnli").manifest
    before = manifest.backbone.model_copy(update={"settings": None})
    assert before.differences(other.identity) == []
    written = manifest.model_copy(update={"backbone": before}).model_dump(mode="json")
    assert "settings" not in written["backbone"]
