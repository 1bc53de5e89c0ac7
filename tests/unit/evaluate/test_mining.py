from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import torch

from xstilts.composition.predict import pool
from xstilts.config.progress import silent
from xstilts.errors import UsageError
from xstilts.evaluate.retrieval import both_sides, neighbours
from xstilts.evaluate.retrieval.mining import (
    extract,
    mine,
    mine_texts,
    optimize_threshold,
    pivot_order,
)
from xstilts.evaluate.retrieval.neighbours import nearest, nearest_both, normalised, recall


def test_mean_pooling_counts_special_tokens_and_not_padding():
    states = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [100.0, 100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool([states * 0, states], mask, 1).tolist() == [[2.0, 1.0]]
    assert pool(states, mask, how="cls").tolist() == [[1.0, 0.0]]
    assert pool(states, mask, how="last").tolist() == states[:, int(mask.sum()) - 1].tolist()
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


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("order", ["drawn", "rising", "equal"])
@pytest.mark.parametrize(("sources", "targets"), [(70, 45), (45, 70), (3, 9), (1, 1)])
def test_both_directions_at_once_equal_one_after_the_other(
    order, sources, targets, half, monkeypatch
):
    # Tiles of 8 x 16 in groups of 4, and a crowd of 1: every way of taking newcomers is gone.
    for name, value in (("ROWS", 8), ("COLUMNS", 16), ("GROUP", 4), ("CROWD", 1)):
        monkeypatch.setattr(both_sides, name, value)
    draw = np.random.default_rng(2)
    source, target = (draw.standard_normal((n, 8)).astype("f4") for n in (sources, targets))
    if order == "rising":  # each later row is nearer to everything on the other side
        source[:, 0], target[:, 0] = np.arange(sources), np.arange(targets)
        source, target = np.abs(source), np.abs(target)
    if order == "equal":
        source[:], target[:] = source[0], target[0]
    together = nearest_both(source, target, 4, half=half)
    apart = nearest(source, target, 4), nearest(target, source, 4)
    for side in (0, 1):
        assert np.array_equal(together[side][0], apart[side][0])
        assert np.array_equal(together[side][1], apart[side][1])


def test_bfloat16_is_told_apart_from_what_it_rounds_away():
    # Row n of the other side is 1 - n * 1e-4 along the query: bfloat16 has two values for all 40.
    cosine = 1 - 1e-4 * np.arange(40)
    rows = np.stack([cosine, np.sqrt(1 - cosine**2)], 1).astype("f4")
    found, back = nearest_both(np.array([[2, 0]], "f4"), rows[::-1].copy(), 3, half=True)
    assert found[1].tolist() == [[39, 38, 37]]
    assert np.allclose(found[0], [[1, 0.9999, 0.9998]], atol=1e-6)
    assert back[1].tolist() == [[0]] * 40


def test_what_bfloat16_is_said_to_be_wrong_by_is_never_exceeded():
    draw = np.random.default_rng(4)
    one, other = (normalised(draw.standard_normal((n, 64)).astype("f4")) for n in (200, 300))
    (products, numbers), _ = both_sides.search_both(one, other, 300, silent, torch.bfloat16)
    exact = np.take_along_axis(one.astype("f8") @ other.T, numbers, 1)
    lost, others_lost = (both_sides.lost_by_rounding(side) for side in (one, other))
    bound = both_sides.rounding(lost, others_lost.max(), products)
    wrong = np.abs(products - exact)
    assert (wrong <= bound).all()
    assert wrong.max() > bound.max() / 20  # a bound of some use


@pytest.mark.parametrize(("flags", "core"), [({"amx_tile"}, "SkylakeX"), ({"avx2"}, None)])
def test_faiss_is_told_of_a_processor_that_it_does_not_know(flags, core, tmp_path, monkeypatch):
    (tmp_path / "faiss.py").write_text("import os\ncore = os.environ.get('OPENBLAS_CORETYPE')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "faiss", None)  # what it was comes back afterwards
    del sys.modules["faiss"]
    monkeypatch.setattr(neighbours, "processor_flags", lambda: frozenset(flags))
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    faiss = neighbours.import_faiss()
    assert faiss.core == core
    assert "OPENBLAS_CORETYPE" not in os.environ
    del sys.modules["faiss"]
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    assert neighbours.import_faiss().core == "Zen"


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_other_indexes_find_true_neighbours_and_recall_says_how_many(index):
    draw = np.random.default_rng(1)
    centres = draw.standard_normal((20, 16))
    rows = (centres[np.arange(3000) % 20] + 0.4 * draw.standard_normal((3000, 16))).astype("f4")
    query = rows[::10] + 0.1 * draw.standard_normal((300, 16)).astype("f4")
    exact, found = nearest(query, rows, 4), nearest(query, rows, 4, index=index)
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query, rows)]
    cosines = np.take_along_axis(unit[0] @ unit[1].T, found[1], 1)
    assert np.allclose(found[0], cosines, atol=1e-6)
    hits = [len(set(one) & set(other)) for one, other in zip(exact[1], found[1], strict=True)]
    share = recall(query, rows, 4, index)
    assert share == pytest.approx(sum(hits) / 1200)
    assert share > 0.8
    assert recall(query, rows, 4, "exact") == 1.0


@pytest.mark.parametrize("rows", [1, 5, 38, 39, 77, 78, 300])
@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_few_rows_are_searched_without_a_word_of_the_librarys_own(index, rows, capfd):
    drawn = np.random.default_rng(rows).standard_normal((rows, 16)).astype("f4")
    found = nearest(drawn, drawn, 1, index=index)
    assert found[1][:, 0].tolist() == list(range(rows))
    assert capfd.readouterr() == ("", "")


def test_an_index_that_finds_too_few_is_helped_out():
    rows = np.eye(100, dtype="f4")
    found = nearest(rows[:3], rows, 60, index="ivf")
    assert (found[1] >= 0).all()
    assert found[1][:, 0].tolist() == [0, 1, 2]


def test_nearest_takes_the_lowest_of_more_equals_than_were_asked_for():
    # Cosines with (1, 0): rows 0 and 59 0, the others exactly 1, whatever their length.
    base = np.array([[0, 1]] + [[n + 1, 0] for n in range(58)] + [[0, 2]], np.float32)
    similarity, ids = nearest(np.array([[3, 0]], np.float32), base, 3)
    assert ids.tolist() == [[1, 2, 3]]
    assert similarity.tolist() == [[1.0, 1.0, 1.0]]


def test_equal_vectors_share_a_neighbourhood_by_number():
    # s0 = s1 = s2 = (1, 1); t0 = (1, 0), t1 = (0, 1). k = 2: all cosines are r = 1/sqrt(2), all
    # means r, so every ratio is 1: t0 and t1 both look at s0 and s1, the lower numbers, and every
    # source at t0. Greedy: s0-t0, then s1 and s2 find t0 taken; of the targets, t1-s0 is taken.
    source = np.ones((3, 2), np.float32)
    target = np.eye(2, dtype=np.float32)
    assert mine(source, target, k=2, direction="backward") == [(1.0, 0, 0), (1.0, 0, 1)]
    assert mine(source, target, k=2, direction="forward") == [(1.0, n, 0) for n in range(3)]
    assert mine(source, target, k=2) == [(1.0, 0, 0)]


def test_double_precision_is_kept():
    # The cosines of (1, 0) with t0 and t1 differ by 3e-12, which single precision cannot hold.
    target = np.array([[1, 1e-4], [1, 1.0003e-4], [0, 1]])
    assert target.astype(np.float32)[0, 1] != target[0, 1]
    found = mine(np.array([[1.0, 0]]), target, k=3, margin="absolute", direction="forward")
    assert found[0][0] == pytest.approx(1 / np.sqrt(1 + 1e-8), abs=1e-13)
    assert found[0][1:] == (0, 0)


@pytest.mark.parametrize("bad", [[[1.0, float("nan")]], [[float("inf"), 1.0]], [1.0, 2.0]])
def test_vectors_without_a_direction_are_refused(bad):
    with pytest.raises(UsageError, match="cannot be compared"):
        mine(np.array(bad), np.eye(2))


def test_a_ratio_to_nothing_is_nothing():
    # cosine 0 and both means 0 with k = 1
    found = mine(np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32), k=1)
    assert found == []


def test_padding_may_hold_anything():
    states = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [float("nan"), float("inf")]]])
    assert pool(states, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 1.0]]


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


def slowly(source, target, k, margin, direction):
    """The protocol's steps in float64, one pair at a time."""
    wide = [side.astype(np.float64) for side in (source, target)]
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in wide]
    cosine = unit[0] @ unit[1].T

    def near(row):
        return sorted(range(len(row)), key=lambda j: (-row[j], j))[: min(k, len(row))]

    ahead, back = [near(row) for row in cosine], [near(row) for row in cosine.T]
    mean_s = [np.mean([cosine[i, j] for j in found]) for i, found in enumerate(ahead)]
    mean_t = [np.mean([cosine[i, j] for i in found]) for j, found in enumerate(back)]

    def score(i, j):
        middle = (mean_s[i] + mean_t[j]) / 2
        return {
            "ratio": cosine[i, j] / middle,
            "distance": cosine[i, j] - middle,
            "absolute": cosine[i, j],
        }[margin]

    best_t = {i: max(found, key=lambda j: score(i, j)) for i, found in enumerate(ahead)}
    best_s = {j: max(found, key=lambda i: score(i, j)) for j, found in enumerate(back)}
    forward = [(score(i, j), i, j) for i, j in best_t.items()]
    backward = [(score(i, j), i, j) for j, i in best_s.items()]
    if direction == "forward":
        return forward
    if direction == "backward":
        return backward
    if direction == "intersection":
        return [c for c in forward if best_s[c[2]] == c[1]]
    kept, sources, targets = [], set(), set()
    for value, i, j in sorted(forward + backward, key=lambda c: -c[0]):
        if i not in sources and j not in targets:
            sources.add(i)
            targets.add(j)
            if value > 0:
                kept.append((value, i, j))
    return kept


@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
@pytest.mark.parametrize("direction", ["forward", "backward", "intersection", "max"])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_mining_is_the_protocol_step_by_step(margin, direction, k):
    generator = np.random.default_rng(k)
    shared = generator.normal(size=(30, 12))
    source = (shared[:25] + 0.3 * generator.normal(size=(25, 12)) + 0.5).astype(np.float32)
    target = (shared + 0.3 * generator.normal(size=(30, 12)) + 0.5).astype(np.float32)
    expected = sorted(slowly(source, target, k, margin, direction), key=lambda c: -c[0])
    found = mine(source, target, k, margin, direction)
    if k == 1:  # the margin of two that are each other's only neighbour is 1 or 0: all tie
        found, expected = (sorted(list_, key=lambda c: c[1:]) for list_ in (found, expected))
    assert [c[1:] for c in found] == [c[1:] for c in expected]
    assert [c[0] for c in found] == pytest.approx([c[0] for c in expected], abs=1e-9)


def test_names_of_directions_and_margins():
    source = np.eye(3, dtype=np.float32)
    for short, full in (("fwd", "forward"), ("bwd", "backward"), ("intersect", "intersection")):
        assert mine(source, source, 1, "absolute", short) == mine(
            source, source, 1, "absolute", full
        )
    with pytest.raises(UsageError, match="no direction named 'both'"):
        mine(source, source, direction="both")
    with pytest.raises(UsageError, match="no margin named 'ratios'"):
        mine(source, source, margin="ratios")
    with pytest.raises(UsageError, match="sentences on both sides"):
        mine(source[:0], source)


def test_pooling_takes_arrays_and_stacked_layers():
    states = np.arange(24, dtype=np.float32).reshape(2, 1, 3, 4)  # layers, sentences, words, size
    mask = np.array([[1, 1, 0]])
    assert pool(states, mask, 0).tolist() == [[2.0, 3.0, 4.0, 5.0]]
    assert pool(list(states), mask, 1, "cls").tolist() == [[12.0, 13.0, 14.0, 15.0]]


def test_gold_pairs_may_be_lists():
    assert optimize_threshold([(0.9, 0, 0), (0.5, 1, 0)], [[0, 0]]) == pytest.approx(0.7)
