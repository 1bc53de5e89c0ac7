"""Our modules against the libraries that own their formats: outputs, gradients, folders."""

from __future__ import annotations

import json

import pytest
import torch
from support.models import fresh, randomise, tiny_backbone, tokens

from xstilts.composition.compose import compose
from xstilts.composition.parser import parse
from xstilts.modules.methods import METHODS

adapters = pytest.importorskip("adapters", reason="the adapters library is not installed")

BOTTLENECKS = ("seq_bn", "double_seq_bn", "par_bn")


@pytest.fixture
def backbone():
    return tiny_backbone()


@pytest.fixture
def library(backbone, tmp_path):
    """The same encoder in the adapters library."""
    backbone.encoder.save_pretrained(tmp_path / "base")
    return adapters.AutoAdapterModel.from_pretrained(
        tmp_path / "base", attn_implementation="sdpa"
    ).eval()


def last_state(model, ids, mask):
    return model(input_ids=ids, attention_mask=mask).last_hidden_state


@pytest.mark.parametrize("preset", BOTTLENECKS)
def test_library_loads_our_folder_and_agrees(preset, backbone, library, tmp_path):
    ids, mask = tokens()
    method, adapter = fresh(preset, backbone.shape, reduction_factor=4)
    randomise(adapter)
    folder = tmp_path / "module"
    folder.mkdir()
    method.save(adapter, folder, "mine", backbone)
    name = library.load_adapter(str(folder), use_safetensors=True, set_active=True)
    assert name == "mine"
    with backbone.attach(adapter.at):
        ours = backbone(ids, mask)
    assert torch.allclose(last_state(library, ids, mask), ours, atol=1e-6)


@pytest.mark.parametrize("preset", BOTTLENECKS)
def test_we_load_the_librarys_folder_and_agree(preset, backbone, library, tmp_path):
    ids, mask = tokens()
    library.add_adapter("theirs", config=preset)
    library.set_active_adapters("theirs")
    for name, parameter in library.named_parameters():
        if "theirs" in name:
            parameter.data.normal_(0, 0.2, generator=torch.Generator().manual_seed(len(name)))
    (tmp_path / "out").mkdir()
    library.save_adapter(str(tmp_path / "out"), "theirs", use_safetensors=True)
    adapter = METHODS.get("bottleneck").load(tmp_path / "out", backbone.shape)
    with backbone.attach(adapter.at):
        ours = backbone(ids, mask)
    assert torch.allclose(last_state(library, ids, mask), ours, atol=1e-6)


@pytest.mark.parametrize("preset", BOTTLENECKS)
def test_gradients_agree(preset, backbone, library, tmp_path):
    ids, mask = tokens()
    method, adapter = fresh(preset, backbone.shape, reduction_factor=4)
    randomise(adapter)
    method.save(adapter, tmp_path, "mine", backbone)
    library.load_adapter(str(tmp_path), use_safetensors=True, set_active=True)
    library.train_adapter("mine")
    library.eval()
    last_state(library, ids, mask).pow(2).sum().backward()
    with backbone.attach(adapter.at):
        backbone(ids, mask).pow(2).sum().backward()
    theirs = [p.grad for n, p in library.named_parameters() if ".mine." in n]
    ours = [p.grad for p in adapter.parameters()]
    assert len(theirs) == len(ours)
    assert sum(g.abs().sum() for g in ours) > 1
    total_ours, total_theirs = (sum(float(g.abs().sum()) for g in x) for x in (ours, theirs))
    assert total_ours == pytest.approx(total_theirs, rel=1e-5)
    for a, b in zip(sorted(map(norm, ours)), sorted(map(norm, theirs)), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def norm(gradient):
    return float(gradient.norm())


@pytest.mark.parametrize("preset", ["seq_bn", "double_seq_bn"])
def test_stack_and_fuse_agree_with_the_library(preset, backbone, library, tmp_path):
    from adapters.composition import Fuse, Stack

    ids, mask = tokens()
    modules = {}
    for number, name in enumerate(("a", "b")):
        method, modules[name] = fresh(preset, backbone.shape, reduction_factor=4)
        randomise(modules[name], seed=number)
        (tmp_path / name).mkdir()
        method.save(modules[name], tmp_path / name, name, backbone)
        library.load_adapter(str(tmp_path / name), use_safetensors=True)
    library.set_active_adapters(Stack("a", "b"))
    stacked = compose(parse("stack(a, b)"), modules, backbone.shape, torch.Generator())
    with backbone.attach(stacked.nodes):
        assert torch.allclose(last_state(library, ids, mask), backbone(ids, mask), atol=1e-6)

    library.add_adapter_fusion(["a", "b"])
    library.set_active_adapters(Fuse("a", "b"))
    library.eval()
    fused = compose(
        parse("fuse(a, b)"), modules, backbone.shape, torch.Generator().manual_seed(1)
    ).eval()
    theirs = {n: p for n, p in library.named_parameters() if "adapter_fusion_layer" in n}
    generator = torch.Generator().manual_seed(5)
    for name, parameter in fused.operator_parameters().items():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        key, _, matrix, kind = name.split(".")
        block, site = key.split("_")
        inner = {"ffn": "output", "attention": "attention.output"}[site]
        wanted = f"layer.{block}.{inner}.adapter_fusion_layer.a,b.{matrix}.{kind}"
        matches = [p for n, p in theirs.items() if n.endswith(wanted)]
        assert len(matches) == 1
        matches[0].data.copy_(parameter.data)
    assert len(theirs) == len(fused.operator_parameters())
    with backbone.attach(fused.nodes):
        ours = backbone(ids, mask)
    assert torch.allclose(last_state(library, ids, mask), ours, atol=1e-6)


TARGETS = ["query", "value", "attention_output", "intermediate", "output"]


def test_peft_loads_our_lora_and_agrees(backbone, tmp_path):
    peft = pytest.importorskip("peft")
    ids, mask = tokens()
    method, adapter = fresh("lora", backbone.shape, targets=TARGETS, rank=4, leave_out=[1])
    randomise(adapter)
    (tmp_path / "module").mkdir()
    method.save(adapter, tmp_path / "module", "mine", backbone)
    with backbone.attach(adapter.at):
        ours = backbone(ids, mask)
        ours.pow(2).sum().backward()
    model = peft.PeftModel.from_pretrained(
        tiny_backbone().encoder, tmp_path / "module", is_trainable=True
    )
    theirs = last_state(model.eval(), ids, mask)
    assert torch.allclose(theirs, ours, atol=1e-6)
    theirs.pow(2).sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if "lora" in n}
    for key, module in adapter.at.items():
        block, name = key.split("_", 1)
        for factor in "AB":
            wanted = f"layer.{block}.{backbone.layout.linears[name]}.lora_{factor}.default.weight"
            (gradient,) = [g for n, g in gradients.items() if n.endswith(wanted)]
            assert torch.allclose(gradient, module.get_parameter(factor).grad, rtol=1e-4, atol=1e-5)


def test_we_load_pefts_folder_and_agree(tmp_path):
    peft = pytest.importorskip("peft")
    ids, mask = tokens()
    config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=["query", "intermediate.dense"])
    model = peft.get_peft_model(tiny_backbone().encoder, config)
    for name, parameter in model.named_parameters():
        if "lora" in name:
            parameter.data.normal_(0, 0.2, generator=torch.Generator().manual_seed(len(name)))
    model.eval().save_pretrained(tmp_path)
    backbone = tiny_backbone()
    adapter = METHODS.get("lora").load(tmp_path, backbone.shape)
    with backbone.attach(adapter.at):
        ours = backbone(ids, mask)
    assert torch.allclose(last_state(model, ids, mask), ours, atol=1e-6)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 4


def test_average_of_lora_is_the_mean_of_the_updates():
    backbone = tiny_backbone()
    modules = {}
    for number, (name, rank) in enumerate((("a", 4), ("b", 2))):
        _, modules[name] = fresh("lora", backbone.shape, rank=rank, targets=["query", "output"])
        randomise(modules[name], seed=number)
    composed = compose(parse("average(a*0.3, b*0.7)"), modules, backbone.shape, torch.Generator())
    for key, module in composed.nodes.items():
        expected = (
            0.3 * modules["a"].at[key].weight_update() + 0.7 * modules["b"].at[key].weight_update()
        )
        assert torch.allclose(module.weight_update(), expected, atol=1e-6)


def test_stacked_lora_is_the_sum_of_the_updates():
    backbone = tiny_backbone()
    ids, mask = tokens()
    modules = {}
    for number, name in enumerate(("a", "b")):
        _, modules[name] = fresh("lora", backbone.shape, rank=4)
        randomise(modules[name], seed=number)
    stacked = compose(parse("stack(a, b)"), modules, backbone.shape, torch.Generator())
    added = compose(parse("a + b"), modules, backbone.shape, torch.Generator())
    with backbone.attach(stacked.nodes):
        one = backbone(ids, mask)
    with backbone.attach(added.nodes):
        assert torch.allclose(backbone(ids, mask), one, atol=1e-6)
