"""What the libraries compute wrongly, and is therefore refused here.

Each test states what would be right and is expected to fail; `make test-library-faults` runs them.
One that passes fails the job and is good news: the library was mended, and the refusal can go.
"""

from __future__ import annotations

import pytest
import torch
from support.models import tiny_backbone, tokens

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")


def fault(refusal):
    """Marks what a library computes wrongly; `refusal` says what can go when it is mended."""

    def mark(test):
        expected = pytest.mark.xfail(raises=AssertionError, strict=True, reason=refusal)
        return pytest.mark.library_faults(expected(test))

    return mark


def fill(model, *marks):
    """Random values for what a mark names, a seed for each parameter."""
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if any(mark in name for mark in marks):
            generator = torch.Generator().manual_seed(number)
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def last(model):
    ids, mask = tokens()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).last_hidden_state


@pytest.fixture
def model(tmp_path):
    adapters = pytest.importorskip("adapters", reason="the adapters library is not installed")
    tiny_backbone().encoder.save_pretrained(tmp_path)
    return adapters.AutoAdapterModel.from_pretrained(tmp_path, attn_implementation="sdpa").eval()


def with_two(model, config):
    for name in ("aa", "bb"):
        model.add_adapter(name, config=config)
    fill(model, ".aa.", ".bb.")
    return model.eval()


def active(model, setup):
    model.set_active_adapters(setup)
    model.eval()
    return last(model)


@fault("no export of averages for the adapters library")
def test_adapters_average_divides_once(model):
    from adapters.composition import Average

    with_two(model, "seq_bn")
    for parameter in [p for n, p in model.named_parameters() if ".bb." in n]:
        name = next(n for n, p in model.named_parameters() if p is parameter)
        parameter.data.copy_(model.get_parameter(name.replace(".bb.", ".aa.")).data)
    alone = active(model, "aa")
    if not torch.equal(active(model, "bb"), alone):
        pytest.fail("the two adapters are not equal")
    # the mean of two equal adapters should be that adapter
    assert (active(model, Average("aa", "bb")) - alone).abs().max() < 0.01


@fault("no export of stacks of LoRA for the adapters library")
def test_adapters_stacked_lora_adds_both_updates(model):
    from adapters.composition import Stack

    with_two(model, "lora")
    plain = {n: p.data.clone() for n, p in model.named_parameters() if n.endswith("query.weight")}
    stacked = active(model, Stack("aa", "bb"))
    model.set_active_adapters(None)
    summed = {}
    for name, parameter in model.named_parameters():
        if name.endswith((".query.weight", ".value.weight")):
            stem = name.removesuffix("weight")
            for which in ("aa", "bb"):
                a = model.get_parameter(f"{stem}loras.{which}.lora_A").data
                b = model.get_parameter(f"{stem}loras.{which}.lora_B").data
                summed[name] = summed.get(name, parameter.data.clone()) + b @ a  # alpha is r
    for name, value in summed.items():
        model.get_parameter(name).data.copy_(value)
    if len(plain) != 3:
        pytest.fail("the model has not its three blocks")
    assert (last(model) - stacked).abs().max() < 0.01


@fault("lora_delta_w_svd is not used")
def test_adapters_delta_svd_takes_alpha_in(model):
    from adapters import LoRAConfig

    config = LoRAConfig(r=4, alpha=8)
    with_two(model, config)
    model.average_adapter(
        "mean", ["aa", "bb"], [0.5, 0.5], combine_strategy="lora_delta_w_svd", svd_rank=8
    )
    stem = "roberta.encoder.layer.0.attention.self.query.loras."
    update = {
        name: model.get_parameter(f"{stem}{name}.lora_B").data
        @ model.get_parameter(f"{stem}{name}.lora_A").data
        for name in ("aa", "bb", "mean")
    }
    right = (update["aa"] + update["bb"]) / 2 * (8 / 4)
    loras = model.roberta.encoder.layer[0].attention.self.query.loras
    found = update["mean"] * loras["mean"].scaling
    assert (found - right).abs().max() < 0.1 * right.abs().max()


@fault("adapters:dora and settings with use_dora")
def test_adapters_dora_is_its_own_merge(model):
    fill(model, "query.bias", "value.bias")
    from adapters import LoRAConfig

    model.add_adapter("aa", config=LoRAConfig(use_dora=True, r=4, alpha=8))
    fill(model, ".aa.lora")
    before = active(model, "aa")
    model.merge_adapter("aa")
    assert (last(model) - before).abs().max() < 0.01


@fault("weighted merges of peft's rsLoRA, DoRA and LoRA with bias")
@pytest.mark.parametrize(
    "settings",
    [{"use_rslora": True}, {"use_dora": True}, {"lora_bias": True}],
    ids=["rslora", "dora", "lora_bias"],
)
def test_peft_merges_of_one_module_are_that_module(settings):
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], **settings)
    model = peft.get_peft_model(tiny_backbone().encoder, config, adapter_name="aa").eval()
    fill(model, ".lora_", "magnitude")
    alone = last(model)
    model.base_model.add_weighted_adapter(["aa"], [1.0], "mm", combination_type="linear")
    model.set_adapter("mm")
    assert (last(model.eval()) - alone).abs().max() < 0.01


def test_peft_merges_of_plain_lora_are_right():
    """The control: the same calls on a module whose merges are not refused."""
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"])
    model = peft.get_peft_model(tiny_backbone().encoder, config, adapter_name="aa").eval()
    fill(model, ".lora_")
    alone = last(model)
    model.base_model.add_weighted_adapter(["aa"], [1.0], "mm", combination_type="linear")
    model.set_adapter("mm")
    assert torch.allclose(last(model.eval()), alone, atol=1e-6)
