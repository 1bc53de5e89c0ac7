"""Every method and preset keeps the laws of `xstilts.modules.methods`."""

from __future__ import annotations

import pytest
import torch
from support.models import fresh, randomise, tiny_backbone, tokens

from xstilts.composition.compose import compose
from xstilts.composition.parser import parse
from xstilts.config.load import load_method, spec_names
from xstilts.modules.methods import METHODS

PRESETS = spec_names("methods")
PARAMETERS = [m for m in METHODS if METHODS.get(m).ACTS and not METHODS.get(m).REPLACES_ENCODER]
WITH_PARAMETERS = [p for p in PRESETS if load_method(p).method in PARAMETERS]


@pytest.mark.parametrize("model_type", ["xlm-roberta", "xlm-roberta-xl", "bert"])
@pytest.mark.parametrize("preset", PRESETS)
def test_fresh_module_is_the_identity(preset, model_type):
    backbone = tiny_backbone(model_type)
    ids, mask = tokens()
    before = backbone(ids, mask)
    _, adapter = fresh(preset, backbone.shape)
    with backbone.attach(adapter.at, adapter.encoder_weights):
        assert torch.equal(backbone(ids, mask), before)
    assert torch.equal(backbone(ids, mask), before)


@pytest.mark.parametrize("preset", WITH_PARAMETERS)
def test_changed_module_acts_and_leaves_no_trace(preset):
    backbone = tiny_backbone()
    ids, mask = tokens()
    before = backbone(ids, mask)
    _, adapter = fresh(preset, backbone.shape)
    randomise(adapter)
    with backbone.attach(adapter.at):
        assert (backbone(ids, mask) - before).abs().max() > 1e-3
    assert torch.equal(backbone(ids, mask), before)


@pytest.mark.parametrize("preset", PRESETS)
def test_saved_module_loads_bit_equal(preset, tmp_path):
    backbone = tiny_backbone()
    ids, mask = tokens()
    method, adapter = fresh(preset, backbone.shape)
    randomise(adapter)
    if adapter.encoder_weights is not None:
        adapter.encoder_weights = {
            name: p.detach() * 1.5 for name, p in backbone.encoder.named_parameters()
        }
    method.save(adapter, tmp_path, "thing", backbone)
    again = method.load(tmp_path, backbone.shape)
    assert again.options == adapter.options
    with backbone.attach(adapter.at, adapter.encoder_weights):
        expected = backbone(ids, mask)
    with backbone.attach(again.at, again.encoder_weights):
        assert torch.equal(backbone(ids, mask), expected)


@pytest.mark.parametrize("preset", WITH_PARAMETERS)
def test_only_its_own_parameters_get_gradients(preset):
    backbone = tiny_backbone()
    ids, mask = tokens()
    _, adapter = fresh(preset, backbone.shape)
    randomise(adapter)
    with backbone.attach(adapter.at):
        backbone(ids, mask).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapter.parameters())
    assert all(p.grad is None for p in backbone.encoder.parameters())


@pytest.mark.parametrize("preset", WITH_PARAMETERS)
def test_identity_composition_equals_the_module(preset):
    backbone = tiny_backbone()
    ids, mask = tokens()
    _, adapter = fresh(preset, backbone.shape)
    randomise(adapter)
    with backbone.attach(adapter.at):
        expected = backbone(ids, mask)
    for text in ("a", "stack(a)", "average(a)", "average(a*0.5, a*0.5)", "a + a - a"):
        composed = compose(parse(text), {"a": adapter}, backbone.shape, torch.Generator())
        with backbone.attach(composed.nodes):
            assert torch.allclose(backbone(ids, mask), expected, atol=1e-6), text
