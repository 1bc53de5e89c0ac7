from __future__ import annotations

import numpy as np
import pytest
import torch

from xstilts.errors import UsageError
from xstilts.retrieval import (
    extract,
    mine,
    mine_texts,
    nearest,
    optimize_threshold,
    pivot_order,
    pool,
)


def test_mean_pooling_counts_special_tokens_and_not_padding():
    states = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [100.0, 100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool([states * 0, states], mask, 1).tolist() == [[2.0, 1.0]]
    assert pool(states, mask, how="cls").tolist() == [[1.0, 0.0]]
    with pytest.raises(UsageError, match="max"):
        pool(states, mask, how="max")


def test_nearest_equals_torch():
    generator = np.random.default_rng(0)
    query, base = (generator.normal(size=(n, 16)).astype(np.float32) for n in (37, 53))
    similarity, ids = nearest(query, base, 4)
    cosine = torch.nn.functional.cosine_similarity(
        torch.tensor(query)[:, None], torch.tensor(base)[None], dim=-1
    )
    best = cosine.topk(4)
    assert np.array_equal(ids, best.indices.numpy())
    assert np.allclose(similarity, best.values.numpy(), atol=1e-6)


def test_pivot_order_is_by_code_point_and_stable():
    assert pivot_order(["b", " a", "B", "b ", "é"]) == [2, 1, 0, 3, 4]


def test_ratio_margin_by_hand():
    # cosines: s0 = (1, 0), s1 = (0.6, 0.8); t0 = (1, 0), t1 = (0, 1): s0t0 1, s0t1 0, s1t0 .6,
    # s1t1 .8. With k = 2 the means are s .5, .7 and t .8, .4.
    # ratio: s0t0 1/.65, s1t1 .8/.55, s1t0 .6/.75.
    source = np.array([[1, 0], [0.6, 0.8]], np.float32)
    target = np.array([[1, 0], [0, 1]], np.float32)
    got = mine(source, target, k=2)
    assert [(i, j) for _, i, j in got] == [(0, 0), (1, 1)]
    assert [s for s, _, _ in got] == pytest.approx([1 / 0.65, 0.8 / 0.55])
    distance = mine(source, target, k=2, margin="distance")
    assert [s for s, _, _ in distance] == pytest.approx([1 - 0.65, 0.8 - 0.55])
    absolute = mine(source, target, k=2, margin="absolute", direction="forward")
    assert [s for s, _, _ in absolute] == pytest.approx([1.0, 0.8])


def test_max_uses_each_sentence_once_and_intersect_needs_both():
    source = np.array([[1, 0], [0.9, 0.1]], np.float32)
    target = np.array([[1, 0]], np.float32)
    for direction, expected in (("max", 1), ("intersect", 1), ("forward", 2), ("backward", 1)):
        assert len(mine(source, target, margin="absolute", direction=direction)) == expected


def test_repeated_lines_are_discarded():
    source = np.eye(3, dtype=np.float32)
    pairs = mine_texts(["a", "b", "b "], ["x", "y", "z"], source, source, k=1, margin="absolute")
    assert [(i, j) for _, i, j in pairs] == [(0, 0)]


def test_threshold_by_hand():
    candidates = [(0.9, 0, 0), (0.7, 1, 1), (0.5, 2, 9), (0.3, 3, 3)]
    gold = {(0, 0), (1, 1), (3, 3)}
    # F1 after each: 2*1*1/3/(4/3)=.5, .8, 2/3, 2*.75*1/1.75=.857: best at the last, so its score.
    assert optimize_threshold(candidates, gold) == pytest.approx(0.3)
    # without the last gold: 2/3, 1.0 at 0.7 -> midpoint of .7 and .5
    assert optimize_threshold(candidates, {(0, 0), (1, 1)}) == pytest.approx(0.6)
    assert optimize_threshold(candidates, {(5, 5)}) == 0.0
    assert extract(candidates, 0.6) == [(0, 0), (1, 1)]
