"""Sums of runs, and what a comparison could have seen."""

from __future__ import annotations

import numpy as np
import pytest

from xstilts.errors import UsageError
from xstilts.evaluate.stats import (
    Measured,
    Runs,
    Term,
    Unit,
    Verdict,
    combined,
    compare,
    detectable,
)

XNLI, TATOEBA = Unit("xnli", "de", "test"), Unit("tatoeba", "de", "test", 7, "mean")


def hits(values, data="rows"):
    rows = np.array(values, float)[:, None]
    return Measured(100 * rows.mean(), lambda: rows, lambda sums, n: 100 * sums[..., 0] / n, data)


def runs(label, by_seed, unit=XNLI):
    return Runs(label, {seed: {unit: hits(values)} for seed, values in by_seed.items()})


def test_a_mean_of_rows_is_the_mean_of_their_scores_and_of_their_outcomes():
    first = runs("a", {1: [1, 1, 0, 0], 2: [1, 0, 0, 0]})
    second = runs("b", {1: [1, 1, 1, 1], 2: [1, 1, 1, 0]})
    mean = combined([Term(0.5, first), Term(0.5, second)], "mean")
    # seed 1: (50 + 100) / 2, seed 2: (25 + 75) / 2
    assert [mean.table[seed][XNLI].value for seed in (1, 2)] == [75, 50]
    item = mean.table[1][XNLI]
    assert item.pooled(item.load().sum(0), 4) == pytest.approx(75)


def test_a_gain_stands_beside_every_seed_where_the_baseline_has_none():
    tuned = runs("mnli", {1: [1, 1, 0, 0], 2: [1, 1, 1, 0], 3: [1, 1, 1, 1]}, TATOEBA)
    plain = runs("none", {-1: [1, 0, 0, 0]}, TATOEBA)
    gain = combined([Term(1, tuned), Term(-1, plain)], "gain")
    assert {seed: units[TATOEBA].value for seed, units in gain.table.items()} == {
        1: 25,
        2: 50,
        3: 75,
    }


def test_a_seed_that_one_term_lacks_is_left_out():
    made = combined([Term(1, runs("a", {1: [1], 2: [0]})), Term(1, runs("b", {2: [1]}))], "sum")
    assert made.seeds == (2,)


def test_comparing_gains_is_comparing_what_they_are_made_of():
    generator = np.random.default_rng(0)
    base = generator.random(400) < 0.4
    better = base | (generator.random(400) < 0.3)
    theirs = dict.fromkeys((1, 2, 3), base)
    ours = dict.fromkeys((1, 2, 3), better)
    plain = compare(runs("ours", ours), runs("none", theirs), draws=500)
    zero = combined([Term(1, runs("x", theirs)), Term(-1, runs("none", theirs))], "no gain")
    gain = combined([Term(1, runs("ours", ours)), Term(-1, runs("none", theirs))], "gain")
    verdict = compare(gain, zero, draws=500)
    assert verdict.effect == pytest.approx(plain.effect)
    assert verdict.low == pytest.approx(plain.low, abs=1.0)
    assert (plain.words, verdict.words) == ("higher", "higher")


def test_other_examples_and_nothing_in_common_are_refused():
    other = Runs("b", {1: {XNLI: hits([1, 0], "other rows")}})
    with pytest.raises(UsageError, match="different examples"):
        combined([Term(1, runs("a", {1: [1, 0]})), Term(1, other)], "sum")
    with pytest.raises(UsageError, match="in common"):
        combined([Term(1, runs("a", {1: [1]})), Term(1, runs("b", {1: [1]}, TATOEBA))], "sum")


def test_what_could_have_been_seen_is_a_power_calculation():
    # half the width over 1.96 is the error; 1.96 + 0.8416 errors are seen in four of five studies
    verdict = Verdict("a", "b", "", 0.0, low=-1.96, high=1.96)
    assert detectable(verdict) == pytest.approx(2.8016, abs=1e-3)
    assert detectable(Verdict("a", "b", "", 0.0)) is None


def test_a_difference_of_that_size_is_seen_four_times_in_five():
    generator = np.random.default_rng(1)
    seen, least = 0, 0.0
    for _ in range(200):
        noise = generator.normal(0, 1, (2, 100))
        mean, error = noise[0].mean(), noise[0].std(ddof=1) / 10
        verdict = Verdict("a", "b", "", mean, mean - 1.96 * error, mean + 1.96 * error)
        least = detectable(verdict)
        seen += abs(mean + least) > 1.96 * error
    assert 0.72 < seen / 200 < 0.88
