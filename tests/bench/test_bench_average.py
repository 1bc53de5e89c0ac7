"""How far the libraries' own averages of two LoRA modules are from the mean of their updates."""

from __future__ import annotations

import pytest
import torch
from support.models import randomise, tiny_backbone

from xstilts.composition.compose import compose
from xstilts.composition.parser import parse
from xstilts.modules.methods import METHODS, _adapters_lora

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("ignore")]
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}


def modules(backbone):
    method = METHODS.get("lora")
    made = {}
    for seed, name in enumerate(("aa", "bb")):
        made[name] = method.create(
            backbone.shape, method.Options(), torch.Generator().manual_seed(0)
        )
        randomise(made[name], seed)
    return made


def wanted(made):
    """Site key to the mean of the full updates."""
    return {
        key: (made["aa"].at[key].weight_update() + made["bb"].at[key].weight_update()) / 2
        for key in made["aa"].at
    }


def error(found, right):
    """Largest difference over the largest update."""
    top = max(float(update.abs().max()) for update in right.values())
    return max(float((found[key] - right[key]).abs().max()) for key in right) / top


def test_average(tmp_path, capsys):
    backbone = tiny_backbone(**SIZES)
    made = modules(backbone)
    right = wanted(made)
    composed = compose(
        parse("average(aa*0.5, bb*0.5)"), made, backbone.shape, torch.Generator().manual_seed(0)
    )
    ours = error({key: node.weight_update() for key, node in composed.nodes.items()}, right)
    assert ours < 1e-6
    lines = [f"xstilts average                    {ours:.1e}"]
    lines += [
        f"peft {kind:30s}{value:.1e}"
        for kind, value in peft_errors(backbone, made, right, tmp_path)
    ]
    lines += [
        f"adapters {kind:26s}{value:.1e}"
        for kind, value in adapters_errors(backbone, made, right, tmp_path)
    ]
    with capsys.disabled():
        print("\nrelative error of the mean of two rank-8 updates\n" + "\n".join(lines))


def peft_errors(backbone, made, right, folder):
    peft = pytest.importorskip("peft")
    for name, module in made.items():
        (folder / name).mkdir()
        METHODS.get("lora").save(module, folder / name, name, backbone)
    model = peft.PeftModel.from_pretrained(
        tiny_backbone(**SIZES).encoder, folder / "aa", adapter_name="aa"
    )
    model.load_adapter(folder / "bb", adapter_name="bb")
    for kind in ("linear", "cat", "svd"):
        model.base_model.add_weighted_adapter(["aa", "bb"], [0.5, 0.5], kind, combination_type=kind)
        found = {}
        for key in right:
            block, name = key.split("_", 1)
            layer = model.get_submodule(
                f"base_model.model.encoder.layer.{block}.attention.self.{name}"
            )
            found[key] = layer.get_delta_weight(kind).detach()
        yield kind, error(found, right)


def adapters_errors(backbone, made, right, folder):
    adapters = pytest.importorskip("adapters")
    tiny_backbone(**SIZES).encoder.save_pretrained(folder / "base")
    model = adapters.AutoAdapterModel.from_pretrained(folder / "base")
    for name, module in made.items():
        out = folder / f"theirs-{name}"
        out.mkdir()
        _adapters_lora.save(module, out, name, backbone)
        model.load_adapter(str(out), use_safetensors=True)
    for kind in ("linear", "lora_linear_only_negate_b", "lora_delta_w_svd"):
        rank = {"svd_rank": 8} if kind == "lora_delta_w_svd" else {}
        model.average_adapter(kind, ["aa", "bb"], [0.5, 0.5], combine_strategy=kind, **rank)
        found = {}
        for key in right:
            block, name = key.split("_", 1)
            layer = model.roberta.get_submodule(f"encoder.layer.{block}.attention.self.{name}")
            lora = layer.loras[kind]
            found[key] = (lora.lora_B @ lora.lora_A * lora.scaling).detach()
        yield kind, error(found, right)
