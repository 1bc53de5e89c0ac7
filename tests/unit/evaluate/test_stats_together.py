"""Many comparisons in one pass: as one by one, and the same whatever else is compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xstilts.errors import UsageError
from xstilts.evaluate.stats import (
    Measured,
    Runs,
    Unit,
    compare,
    compare_all,
    difference_of_differences,
    planned,
    planned_difference,
)
from xstilts.evaluate.stats.together import drawn_together
from xstilts.tasks.metrics import _pooled

UNITS = [Unit("t", "de"), Unit("t", "ru"), Unit("u", "de"), Unit("u", "sw")]


def measured(rows, pooled, data="d"):
    rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
    return Measured(float(pooled(rows.sum(0), len(rows))), lambda: rows, pooled, data)


def made(kind, seeds=(1, 2, 3), labels=("none", "a", "b", "c")):
    """Runs of every label on four units of unequal sizes, with this kind of outcomes."""
    generator = np.random.default_rng(5)
    tables = {label: {seed: {} for seed in seeds} for label in labels}
    for size, unit in zip((200, 90, 200, 61), UNITS, strict=True):
        hard = generator.random(size)
        for number, label in enumerate(labels):
            for seed in seeds:
                right = (hard < 0.5 + 0.06 * number + generator.normal(0, 0.02)).astype(float)
                if kind is _pooled.f1:
                    rows = np.stack([right * 2, 1 + hard.round(), np.full(size, 2.0)], axis=1)
                elif kind is _pooled.mean_of_two:
                    rows = np.stack([right, np.maximum(right, hard)], axis=1)
                else:
                    rows = right
                tables[label][seed][unit] = measured(rows, kind)
    return {label: Runs(label, table) for label, table in tables.items()}


@pytest.mark.parametrize("kind", [_pooled.mean, _pooled.mean_of_two, _pooled.f1])
def test_many_are_as_one_by_one(kind):
    runs = made(kind)
    contrasts = [planned(runs[label], runs["none"], UNITS, label) for label in "abc"]
    contrasts += [planned(runs[label], runs["none"], UNITS[:1], f"{label} de") for label in "abc"]
    contrasts += [planned_difference(runs["a"], runs["none"], UNITS[1:2], UNITS[:1], "dd")]
    together = compare_all(contrasts, draws=12_000)
    alone = [compare(runs[label], runs["none"], UNITS, draws=12_000, what=label) for label in "abc"]
    alone += [
        compare(runs[label], runs["none"], UNITS[:1], draws=12_000, what=f"{label} de")
        for label in "abc"
    ]
    alone += [
        difference_of_differences(
            runs["a"], runs["none"], UNITS[1:2], UNITS[:1], draws=12_000, what="dd"
        )
    ]
    for ours, theirs in zip(together, alone, strict=True):
        # nothing drawn: equal; drawn: as another seed would give
        assert ours.effect == theirs.effect and ours.size == theirs.size
        assert ours.sd == pytest.approx(theirs.sd)
        for name in ("n", "units", "seeds", "test", "wins", "losses", "sign_p", "notes", "what"):
            assert getattr(ours, name) == getattr(theirs, name), name
        width = theirs.high - theirs.low
        assert ours.low == pytest.approx(theirs.low, abs=0.08 * width)
        assert ours.high == pytest.approx(theirs.high, abs=0.08 * width)
        assert ours.p == pytest.approx(theirs.p, abs=0.03)


def test_observed_scores_are_those_of_the_runs():
    runs = made(_pooled.mean_of_two)
    contrast = planned(runs["a"], runs["none"], UNITS)
    ((_, drawn),) = drawn_together([contrast], 500)
    for value, (_, table) in zip(drawn.values, contrast.runs, strict=True):
        assert value == pytest.approx(sum(table[u].value * w for u, w in contrast.weights.items()))
    assert drawn.scores.mean(0) == pytest.approx(drawn.values, abs=0.5)
    assert (drawn.n, drawn.most) == (551, 200)


def test_draws_of_one_do_not_depend_on_the_others():
    runs = made(_pooled.mean)
    first = planned(runs["a"], runs["none"], UNITS, "first")
    others = [planned(runs["b"], runs["none"], UNITS[2:], "b"), planned(runs["c"], runs["none"])]
    (alone,) = compare_all([first], draws=300)
    beside = compare_all([*others, first], draws=300)[-1]
    assert beside.low == pytest.approx(alone.low, abs=1e-9)
    assert beside.p == alone.p


def test_units_are_drawn_apart():
    """As many examples, equal outcomes: the sum of two has twice the variance, not four times."""
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 2, 100)
    units = [Unit("t", "de"), Unit("t", "ru")]
    ours = Runs("a", {1: {unit: measured(rows, _pooled.mean) for unit in units}})
    none = Runs("none", {1: {unit: measured(rows * 0, _pooled.mean) for unit in units}})
    ((_, one),) = drawn_together([planned(ours, none, units[:1])], 20_000)
    ((_, two),) = drawn_together([planned(ours, none, units)], 20_000)
    ratio = (2 * two.scores[:, 0]).var() / one.scores[:, 0].var()
    assert ratio == pytest.approx(2, rel=0.06)


def test_more_weights_than_are_kept_give_the_same_spread(monkeypatch):
    runs = made(_pooled.mean, seeds=(1,))
    contrast = [planned(runs["b"], runs["none"], UNITS)]
    (kept,) = compare_all(contrast, draws=4000)
    monkeypatch.setattr("xstilts.evaluate.stats.together.KEPT", 1)
    monkeypatch.setattr("xstilts.evaluate.stats.together.BLOCK", 60_000)
    (fresh,) = compare_all(contrast, draws=4000)
    assert fresh.high - fresh.low == pytest.approx(kept.high - kept.low, rel=0.08)


def test_equal_outcomes_never_differ_and_others_are_refused():
    runs = made(_pooled.mean_of_two)
    same = Runs("same", runs["none"].table)
    (verdict,) = compare_all([planned(same, runs["none"], UNITS)], draws=200)
    assert verdict.constant and verdict.low is None
    bare = Runs("bare", {1: {UNITS[0]: replace(runs["a"].table[1][UNITS[0]], load=None)}})
    found = compare_all([planned(bare, runs["none"]), planned(runs["a"], runs["none"])], draws=50)
    assert found[0].p is None and "no stored outcomes" in found[0].notes[-1]
    assert found[1].p is not None
    other = {1: {UNITS[0]: measured([[1, 0], [0, 1], [1, 1]], _pooled.mean_of_two, "other")}}
    for wrong in (other, {1: {UNITS[0]: measured([[1, 0], [0, 1]], _pooled.mean_of_two)}}):
        with pytest.raises(UsageError, match="different examples of t/de"):
            compare_all([planned(Runs("x", wrong), runs["none"])], draws=50)
