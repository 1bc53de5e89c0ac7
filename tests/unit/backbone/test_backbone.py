from __future__ import annotations

import json
from shutil import which

import pytest
import torch
from support.models import encoder, randomise, tiny_backbone, tokens
from torch import nn

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.pretrained import fingerprint
from xstilts.backbone.sites import Site
from xstilts.config.load import load_method
from xstilts.errors import DataError, NotFoundError, UsageError
from xstilts.modules.methods import METHODS


@pytest.mark.parametrize("model_type", ["xlm-roberta", "xlm-roberta-xl", "bert"])
@pytest.mark.parametrize("up_to", [0, 1, 2, 3])
def test_early_exit_equals_the_full_run_and_runs_no_further_block(model_type, up_to):
    backbone = tiny_backbone(model_type)
    ids, mask = tokens()
    full = backbone.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    ran = []
    handles = [
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(backbone.blocks)
    ]
    states = backbone.hidden_states(ids, mask, up_to=up_to)
    for handle in handles:
        handle.remove()
    assert ran == list(range(up_to))
    assert len(states) == up_to + 1
    for ours, theirs in zip(states, full.hidden_states, strict=False):
        assert torch.equal(ours, theirs)


def test_layer_out_of_range_is_refused():
    with pytest.raises(UsageError, match="layer 4 of a backbone with 3 blocks"):
        tiny_backbone().hidden_states(*tokens(), up_to=4)


def test_early_exit_runs_through_modules_that_act():
    backbone = tiny_backbone()
    ids, mask = tokens()
    method = METHODS.get("lora")
    options = method.Options.model_validate(load_method("lora").options)
    adapter = method.create(backbone.shape, options, torch.Generator().manual_seed(0))
    randomise(adapter)
    plain = backbone.hidden_states(ids, mask, up_to=2)
    with backbone.attach(adapter.at):
        changed = backbone.hidden_states(ids, mask, up_to=2)
        full = backbone.hidden_states(ids, mask)
    assert not torch.equal(plain[2], changed[2])
    assert torch.equal(full[2], changed[2])


def test_two_modules_at_one_site_are_refused():
    backbone = tiny_backbone()
    adapter = METHODS.get("lora").create(
        backbone.shape, METHODS.get("lora").Options(), torch.Generator().manual_seed(0)
    )
    with (
        backbone.attach(adapter.at),
        pytest.raises(UsageError, match="already acts"),
        backbone.attach(adapter.at),
    ):
        pass


def test_fingerprint_sees_one_changed_weight_and_not_the_pooler():
    model = encoder()
    before = fingerprint(model)
    assert fingerprint(encoder()) == before
    assert fingerprint(encoder(seed=1)) != before
    with torch.no_grad():
        model.encoder.layer[1].output.dense.bias[0] += 1e-7
    assert fingerprint(model) != before


def test_unknown_backbone_shows_near_names():
    with pytest.raises(NotFoundError, match="xlm-roberta-base"):
        Backbone.load("xlm-roberta-bse")


def saved(folder, tokenizer):
    model = encoder(vocab_size=len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def tokenizer():
    from support.tokenizers import tiny_tokenizer

    return tiny_tokenizer(["a b c d e f g", "the cat sat on the mat"] * 20, 60)


def test_folder_loads_with_its_identity(tmp_path, tokenizer):
    model = saved(tmp_path / "small", tokenizer)
    backbone = Backbone.load(str(tmp_path / "small"), offline=True)
    assert backbone.identity.name == "small"
    assert str(tmp_path) not in json.dumps(backbone.identity.model_dump())
    assert backbone.identity.fingerprint == fingerprint(model)
    ids, mask = tokens(vocab=len(tokenizer))
    theirs = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(backbone(ids, mask), theirs)


def test_private_keys_and_code_hooks_of_a_config_are_dropped(tmp_path, tokenizer):
    saved(tmp_path / "small", tokenizer)
    path = tmp_path / "small" / "config.json"
    config = json.loads(path.read_text())
    config["_attn_implementation_internal"] = "evil/kernel"
    config["auto_map"] = {"AutoModel": "evil--module.Class"}
    path.write_text(json.dumps(config))
    backbone = Backbone.load(str(tmp_path / "small"), offline=True)
    assert backbone.encoder.config._attn_implementation == "sdpa"
    assert not hasattr(backbone.encoder.config, "auto_map")


def test_truncated_weights_are_refused(tmp_path, tokenizer):
    saved(tmp_path / "small", tokenizer)
    path = tmp_path / "small" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="broken"):
        Backbone.load(str(tmp_path / "small"), offline=True)


def test_other_architectures_are_refused(tmp_path, tokenizer):
    saved(tmp_path / "small", tokenizer)
    path = tmp_path / "small" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(UsageError, match="gpt2"):
        Backbone.load(str(tmp_path / "small"), offline=True)


def test_int8_is_near_and_takes_modules_on_projections():
    backbone, (ids, mask) = tiny_backbone(), tokens()
    eighth = backbone.in_int8()
    node = nn.Linear(backbone.shape.hidden_size, backbone.shape.hidden_size)
    nodes = {Site(0, "query").key: node}
    for acting in ({}, nodes):
        with torch.inference_mode(), backbone.attach(acting), eighth.attach(acting):
            wanted, found = backbone(ids, mask)[mask.bool()], eighth(ids, mask)[mask.bool()]
        assert 0 < float((wanted - found).abs().max()) < 0.15
    assert eighth.identity == backbone.identity
    assert "quantized" in type(eighth.blocks[0].output.dense).__module__
    assert isinstance(backbone.blocks[0].output.dense, nn.Linear)


@pytest.mark.long
@pytest.mark.skipif(not which("g++"), reason="torch.compile needs g++ on a CPU")
def test_compiled_blocks_give_the_same_with_what_acts_in_them():
    from torch._dynamo.utils import counters

    backbone, (ids, mask) = tiny_backbone(), tokens()
    node = nn.Linear(backbone.shape.hidden_size, backbone.shape.hidden_size)
    with torch.inference_mode():
        for acting in ({}, {Site(0, "query").key: node}):
            with backbone.attach(acting):
                wanted = backbone(ids, mask)[mask.bool()]
                counters.clear()
                with backbone.compiled():
                    found = backbone(ids, mask)[mask.bool()]
                assert counters["stats"]["unique_graphs"] == 1
                assert not counters["graph_break"]
                again = backbone(ids, mask)[mask.bool()]
            assert float((wanted - found).abs().max()) < 1e-5
            assert torch.equal(wanted, again)
    assert all(block._compiled_call_impl is None for block in backbone.blocks)
