"""What every operator promises; new operators are found by themselves."""

from __future__ import annotations

import pytest
import torch
from support.models import backbone, changed, tokens
from torch import Generator

from xstilts.composition.compose import compose, merge
from xstilts.composition.parser import parse
from xstilts.modules.operators import OPERATORS

CALLS = {name: f"{name}({{parts}})" for name in OPERATORS if name != "sum"}
LORA_ONLY = ("merge_svd", "merge_cat", "average_factors")
EXACT = {"merge_ties": ", density=1.0", "merge_dare_linear": ", density=1.0"}
EXACT["merge_dare_ties"] = ", density=1.0"


@pytest.fixture(scope="module")
def encoder():
    return backbone()


def run(encoder, text, modules, seed=0, dtype=None):
    composed = compose(parse(text), modules, encoder.shape, Generator().manual_seed(seed))
    composed.eval()
    ids, mask = tokens()
    with torch.no_grad(), encoder.attach(dict(composed.nodes.items()), composed.encoder_weights):
        if dtype is None:
            return encoder(ids, mask)
        with torch.autocast("cpu", dtype):
            return encoder(ids, mask)


def takes(operator, preset):
    return preset == "lora" or operator not in LORA_ONLY


CASES = [(o, p) for o in CALLS for p in ("seq_bn", "lora", "par_bn") if takes(o, p)]


@pytest.mark.parametrize(("operator", "preset"), CASES)
def test_one_part_is_that_part(operator, preset, encoder):
    modules = {"a": changed(encoder, preset, 1)}
    text = CALLS[operator].format(parts="a" + EXACT.get(operator, ""))
    # a fusion's value matrix starts at the identity plus 1e-6 everywhere
    assert torch.allclose(
        run(encoder, text, modules), run(encoder, "a", modules), atol=5e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("operator", "preset"), CASES)
def test_the_order_of_parts_matters_only_where_it_is_said(operator, preset, encoder):
    modules = {"a": changed(encoder, preset, 1), "b": changed(encoder, preset, 2)}
    ahead = run(encoder, CALLS[operator].format(parts="a, b"), modules)
    back = run(encoder, CALLS[operator].format(parts="b, a"), modules)
    if not OPERATORS.get(operator).ORDERED:
        assert torch.allclose(ahead, back, atol=2e-5)


@pytest.mark.parametrize(("operator", "preset"), CASES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_the_same_expression_gives_the_same_output(operator, preset, dtype, encoder):
    modules = {"a": changed(encoder, preset, 1), "b": changed(encoder, preset, 2)}
    text = CALLS[operator].format(parts="a, b")
    first = run(encoder, text, modules, dtype=dtype)
    assert torch.equal(first, run(encoder, text, modules, dtype=dtype))
    assert torch.isfinite(first).all()


@pytest.mark.parametrize("name", list(OPERATORS))
def test_merges_give_a_module_and_the_others_do_not(name, encoder):
    modules = {"a": changed(encoder, "lora", 1), "b": changed(encoder, "lora", 2)}
    text = "a + b" if name == "sum" else CALLS[name].format(parts="a, b")
    made = merge(parse(text), modules, encoder.shape, Generator().manual_seed(0))
    assert (made is not None) == OPERATORS.get(name).MERGES
    if made is not None:
        direct = run(encoder, "m", {"m": made})
        assert torch.allclose(direct, run(encoder, text, modules), atol=1e-6)


@pytest.mark.parametrize(
    "operator", [name for name in CALLS if name in ("stack", "fuse", "parallel")]
)
def test_bottleneck_and_lora_act_together(operator, encoder):
    modules = {"a": changed(encoder, "seq_bn", 1), "b": changed(encoder, "lora", 2)}
    text = CALLS[operator].format(parts="a, b")
    both = run(encoder, text, modules)
    for name in modules:
        assert not torch.allclose(both, run(encoder, name, modules), atol=1e-4)
