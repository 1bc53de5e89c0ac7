"""What every operator promises; new operators are found by themselves."""

from __future__ import annotations

import pytest
import torch
from support.models import changed, takes, tiny_backbone, tokens
from torch import Generator

from xstilts.composition.compose import compose, merge
from xstilts.composition.conformance import operator_problems
from xstilts.composition.parser import parse
from xstilts.config.load import load_method
from xstilts.modules.operators import OPERATORS

CALLS = {name: f"{name}({{parts}})" for name in OPERATORS if name != "sum"}
EXACT = {
    name: ", density=1.0"
    for name in OPERATORS
    if "density" in OPERATORS.get(name).Options.model_fields
}
PRESETS = ("seq_bn", "lora", "par_bn")


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone()


def run(backbone, text, modules, seed=0, dtype=None):
    composed = compose(parse(text), modules, backbone.shape, Generator().manual_seed(seed))
    composed.eval()
    ids, mask = tokens()
    with torch.no_grad(), backbone.attach(dict(composed.nodes.items()), composed.encoder_weights):
        if dtype is None:
            return backbone(ids, mask)
        with torch.autocast("cpu", dtype):
            return backbone(ids, mask)


CASES = [(o, p) for o in CALLS for p in PRESETS if takes(o, load_method(p).method)]


@pytest.mark.parametrize("operator", list(OPERATORS))
def test_it_does_what_its_contract_says(operator, backbone):
    assert operator_problems(operator, backbone) == []


@pytest.mark.parametrize(("operator", "preset"), CASES)
def test_one_part_is_that_part(operator, preset, backbone):
    modules = {"a": changed(backbone, preset, 1)}
    text = CALLS[operator].format(parts="a" + EXACT.get(operator, ""))
    # a fusion's value matrix starts at the identity plus 1e-6 everywhere
    assert torch.allclose(
        run(backbone, text, modules), run(backbone, "a", modules), atol=5e-5, rtol=1e-4
    )


@pytest.mark.parametrize("operator", CALLS)
def test_the_order_of_parts_matters_where_it_is_said_and_only_there(operator, backbone):
    same = {}
    for preset in (p for o, p in CASES if o == operator):
        modules = {"a": changed(backbone, preset, 1), "b": changed(backbone, preset, 2)}
        ahead = run(backbone, CALLS[operator].format(parts="a, b"), modules)
        back = run(backbone, CALLS[operator].format(parts="b, a"), modules)
        same[preset] = torch.allclose(ahead, back, atol=2e-5)
    # parts that all read the same input (LoRA, parallel adapters) may have no order in any operator
    assert all(same.values()) == (not OPERATORS.get(operator).ORDERED), same


@pytest.mark.parametrize(("operator", "preset"), CASES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_the_same_expression_gives_the_same_output(operator, preset, dtype, backbone):
    modules = {"a": changed(backbone, preset, 1), "b": changed(backbone, preset, 2)}
    text = CALLS[operator].format(parts="a, b")
    first = run(backbone, text, modules, dtype=dtype)
    assert torch.equal(first, run(backbone, text, modules, dtype=dtype))
    assert torch.isfinite(first).all()


@pytest.mark.parametrize("name", list(OPERATORS))
def test_merges_give_a_module_and_the_others_do_not(name, backbone):
    modules = {"a": changed(backbone, "lora", 1), "b": changed(backbone, "lora", 2)}
    text = "a + b" if name == "sum" else CALLS[name].format(parts="a, b")
    made = merge(parse(text), modules, backbone.shape, Generator().manual_seed(0))
    assert (made is not None) == OPERATORS.get(name).MERGES
    if made is not None:
        direct = run(backbone, "m", {"m": made})
        assert torch.allclose(direct, run(backbone, text, modules), atol=1e-6)


@pytest.mark.parametrize("operator", [name for name in CALLS if takes(name, "bottleneck", "lora")])
def test_bottleneck_and_lora_act_together(operator, backbone):
    modules = {"a": changed(backbone, "seq_bn", 1), "b": changed(backbone, "lora", 2)}
    text = CALLS[operator].format(parts="a, b")
    both = run(backbone, text, modules)
    for name in modules:
        assert not torch.allclose(both, run(backbone, name, modules), atol=1e-4)
