from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from xstilts.backbone import packed
from xstilts.backbone.machine import has_bf16
from xstilts.backbone.packed import LEAST_ROWS, PackedLinear, pack, unpack

pytestmark = pytest.mark.skipif(not packed._available(), reason="oneDNN is not on this machine")


def layer(seed=0, out=24, *, bias=True):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(16, out, bias=bias)).requires_grad_(False)
    pack(made)
    return made


def rows(count=LEAST_ROWS):
    return torch.randn(2, count // 2, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bias", [True, False])
def test_the_product_and_its_gradient_are_those_of_a_plain_layer(bias):
    made, x = layer(bias=bias), rows().requires_grad_()
    plain = nn.functional.linear(x, made[0].weight, made[0].bias)
    output = made(x)
    assert "packed" in vars(made[0])
    assert torch.allclose(output, plain, atol=1e-5)
    weights = torch.randn_like(plain)
    own, theirs = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (output, plain))
    assert torch.allclose(own, theirs, atol=1e-5)
    with torch.inference_mode():
        assert torch.equal(made(x), output)


@pytest.mark.skipif(not has_bf16(), reason="this processor has no bfloat16 units")
@pytest.mark.parametrize("bias", [True, False])
def test_in_bfloat16_product_and_gradient_are_those_of_autocast(bias):
    made, x = layer(bias=bias), rows().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        plain = nn.functional.linear(x, made[0].weight, made[0].bias)
        output = made(x)
    assert output.dtype == torch.bfloat16
    assert torch.allclose(output, plain, atol=1e-2)
    weights = torch.randn_like(plain)
    own, theirs = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (output, plain))
    assert own.dtype == torch.float32
    assert torch.allclose(own, theirs, atol=2e-2)
    assert torch.allclose(made(x), output.float(), atol=3e-2)  # and float32 beside it
    with torch.no_grad():
        made[0].weight.mul_(2)
        if bias:
            made[0].bias.add_(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(
            made(x), nn.functional.linear(x, made[0].weight, made[0].bias), atol=2e-2
        )


def test_what_trains_is_small_or_in_other_autocast_takes_the_plain_path(monkeypatch):
    made = layer()
    assert not made[0]._fits(rows(LEAST_ROWS - 2))
    with torch.autocast("cpu", torch.float16):
        assert not made[0]._fits(rows())
    monkeypatch.setattr(packed, "has_bf16", lambda unsaid: False)
    with torch.autocast("cpu", torch.bfloat16):
        assert not made[0]._fits(rows())
    assert made[0]._fits(rows())
    made.requires_grad_(True)
    assert not made[0]._fits(rows())
    made(rows()).sum().backward()
    assert made[0].weight.grad is not None


def test_other_weights_are_seen():
    """Put in place, changed in place, given back, or at the address of weights that are gone."""
    made, x = layer(), rows()
    own = made[0].weight.data
    first = made(x)
    for number in itertools.count(1):
        other = torch.randn(24, 16, generator=torch.Generator().manual_seed(number))
        made[0].weight.data = other
        expected = nn.functional.linear(x, other, made[0].bias)
        assert torch.allclose(made(x), expected, atol=1e-5)
        del other
        made[0].weight.data = own
        if number == 20:
            break
    assert torch.equal(made(x), first)
    with torch.no_grad():
        made[0].weight.mul_(2)
    assert torch.allclose(made(x), nn.functional.linear(x, own, made[0].bias), atol=1e-5)


def test_copies_and_files_hold_the_weights_once():
    made = layer()
    made(rows())
    twin = copy.deepcopy(made)
    assert isinstance(twin[0], PackedLinear)
    assert "packed" not in vars(twin[0])
    assert torch.equal(twin(rows()), made(rows()))
    assert set(made.state_dict()) == {"0.weight", "0.bias"}
    unpack(made)
    assert type(made[0]) is nn.Linear
    assert "packed" not in vars(made[0])


def test_a_large_encoder_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(packed, "MEMORY_LIMIT", 16 * 24 * 4 - 1)
    assert type(layer()[0]) is nn.Linear
