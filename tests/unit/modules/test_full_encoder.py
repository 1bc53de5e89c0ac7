"""A fine-tuned encoder is read whole or not at all."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import tiny_backbone

from xstilts.errors import IntegrityError
from xstilts.modules.methods import METHODS


@pytest.mark.parametrize("change", ["missing", "unexpected", "of another shape"])
def test_other_tensors_than_the_backbones_are_refused(change, tmp_path):
    backbone, method = tiny_backbone(), METHODS.get("full")
    adapter = method.create(backbone.shape, method.Options(), torch.Generator())
    adapter.encoder_weights = {n: p.detach() for n, p in backbone.encoder.named_parameters()}
    method.save(adapter, tmp_path, "m", backbone)
    assert method.load(tmp_path, backbone.shape).encoder_weights.keys() == (
        adapter.encoder_weights.keys()
    )
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    name = "encoder.layer.1.output.dense.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unexpected":
        tensors["pooler.dense.weight"] = torch.zeros(2, 2)
    else:
        tensors[name] = torch.zeros(2, 2)
    save_file(tensors, file)
    with pytest.raises(IntegrityError, match=f"1 tensors {change}"):
        method.load(tmp_path, backbone.shape)
