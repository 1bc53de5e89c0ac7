from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from xstilts.train.masks import masks_of_few_bits


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("shape", [(333, 301), (3,), (0,)])
def test_ones_have_their_probability(p, shape):
    with masks_of_few_bits():
        drawn = torch.empty(shape).bernoulli_(p, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == shape
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    if len(drawn) > 3:
        deviation = (p * (1 - p) / drawn.numel()) ** 0.5
        assert abs(float(drawn.mean()) - p) <= 5 * deviation
        beside = drawn.flatten()  # neighbours come from one word: they must not go together
        apart = (beside[1:] * beside[:-1]).mean() - beside.mean() ** 2
        assert abs(float(apart)) <= 5 * p * (1 - p) / drawn.numel() ** 0.5


def test_a_seed_gives_the_same_masks_and_torchs_own_are_back_afterwards():
    rows = torch.ones(50, 40)

    def drop(seed):
        torch.manual_seed(seed)
        return nn.functional.dropout(rows, 0.3)

    before = drop(1)
    with masks_of_few_bits():
        within = [drop(1), drop(1), drop(2)]
        assert within[0].unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert torch.equal(within[0], within[1])
    assert not torch.equal(within[0], within[2])
    assert not torch.equal(within[0], before)
    assert torch.equal(drop(1), before)


def test_attention_draws_them_and_recomputed_activations_have_the_same():
    query = torch.randn(2, 4, 30, 8, generator=torch.Generator().manual_seed(0))

    def attention(x):
        return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.2)

    def gradient(call):
        torch.manual_seed(3)
        x = query.clone().requires_grad_()
        call(x).square().sum().backward()
        return x.grad

    outside = gradient(attention)
    with masks_of_few_bits():
        plain = gradient(attention)
        again = gradient(lambda x: checkpoint(attention, x, use_reentrant=False))
    assert torch.equal(plain, again)
    assert not torch.equal(plain, outside)
