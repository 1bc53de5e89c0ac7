"""Statistics: hand-worked cases, distributions that are known, and simulated coverage."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats
from support.stored import fill

from xstilts.errors import IntegrityError, UsageError
from xstilts.evaluate.stats import (
    HIGHER,
    LOWER,
    NOTHING,
    THESE_RUNS,
    UNTESTED,
    Measured,
    Runs,
    Unit,
    Verdict,
    cohens_h,
    collect,
    compare,
    detectable,
    difference_of_differences,
    family,
    family_draws,
    holm,
    mcnemar,
    sign_test,
    standard_deviation,
    standard_errors,
)
from xstilts.evaluate.stats.resampling import (
    Spread,
    interval,
    p_value,
    resampled_scores,
    resampled_sums,
    standard_error,
)
from xstilts.evaluate.store import ResultStore, Score
from xstilts.tasks.metrics import METRICS, _pooled


def run(outcomes, pooled=_pooled.mean, data="d"):
    rows = np.asarray(outcomes, np.float64).reshape(len(outcomes), -1)
    return Measured(float(pooled(rows.sum(0), len(rows))), lambda: rows, pooled, data)


def runs(label, **tables):
    """`runs("a", s1={"t/de": [1, 0]})`: seed 1, task t, language de."""
    return Runs(
        label,
        {
            int(seed[1:]): {Unit(*name.split("/")): run(rows) for name, rows in units.items()}
            for seed, units in tables.items()
        },
    )


# -- tests by hand


def test_mcnemar_by_hand():
    # 1 against 8: 2 * (C(9,0) + C(9,1)) / 2**9 = 20 / 512
    assert mcnemar(1, 8) == pytest.approx(20 / 512)
    assert mcnemar(0, 0) == 1.0
    # 10 against 30: (20 - 1)**2 / 40 = 9.025 with one degree of freedom
    assert mcnemar(10, 30) == pytest.approx(math.erfc(math.sqrt(9.025 / 2)))
    assert mcnemar(15, 15) == 1.0


def test_sign_test_by_hand():
    # nine of ten: 2 * (1 + 10) / 2**10; the tie does not count
    assert sign_test([1.0] * 9 + [-0.5, 0.0]) == (9, 1, pytest.approx(22 / 1024))
    assert sign_test([]) == (0, 0, 1.0)


def test_holm_by_hand():
    # 0.01 * 3, then 0.03 * 2, then max(0.04 * 1, 0.06)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(UsageError, match="between 0 and 1"):
        holm([1.2])


def test_effect_sizes_by_hand():
    # 2 asin(sqrt(0.75)) - 2 asin(sqrt(0.25)) = 2 pi/3 - pi/3
    assert cohens_h(75, 25) == pytest.approx(math.pi / 3)
    assert cohens_h(40, 40) == 0.0


def test_fewer_than_three_seeds_have_no_standard_deviation():
    assert standard_deviation([1.0, 2.0]) is None
    assert standard_deviation([1.0, 2.0, 3.0]) == pytest.approx(1.0)


# -- resampling


def test_sums_of_two_rows_are_binomial():
    drawn = resampled_sums(np.array([[0.0], [1.0]]), 40_000, np.random.default_rng(0))[:, 0]
    shares = [float((drawn == value).mean()) for value in (0, 1, 2)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.01)


def test_equal_rows_drawn_together_are_drawn_as_if_apart():
    rows = np.array([[1.0, 2.0]] * 30 + [[0.0, 1.0]] * 70)
    drawn = resampled_sums(rows, 20_000, np.random.default_rng(1))
    picks = np.random.default_rng(2).integers(0, 100, (20_000, 100))
    plain = rows[picks].sum(1)
    assert drawn.mean(0) == pytest.approx(plain.mean(0), abs=0.2)
    assert drawn.std(0) == pytest.approx(plain.std(0), rel=0.03)


def test_scores_of_f1_are_those_of_pooled_counts():
    # right, predicted, gold: 2 * 3 / (5 + 4)
    counts = np.array([[2.0, 3.0, 2.0], [1.0, 2.0, 2.0]])
    observed, drawn = resampled_scores([counts], _pooled.f1, 500, np.random.default_rng(0))
    assert observed == pytest.approx([100 * 6 / 9])
    # both rows twice: 4 of 6 and 4; 2 of 4 and 4
    known = {round(100 * 6 / 9, 6), round(100 * 8 / 10, 6), round(100 * 4 / 8, 6)}
    assert set(np.round(drawn[:, 0], 6)) == known


def test_without_spread_over_examples_it_is_the_t_interval():
    values = np.array([1.0, 2.0, 6.0])
    drawn = np.tile(values, (200_000, 1))
    low, high = interval(Spread(values, drawn).mean(np.random.default_rng(0)))
    half = scipy_stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3)
    assert (low, high) == (pytest.approx(3 - half, rel=0.02), pytest.approx(3 + half, rel=0.02))


def test_without_spread_over_seeds_it_is_the_paired_bootstrap():
    drawn = np.random.default_rng(0).normal(2, 1, (5000, 1))
    spread = Spread(np.full(3, 2.0), np.tile(drawn, (1, 3)))
    assert interval(spread.mean(np.random.default_rng(1))) == interval(drawn[:, 0])


def test_p_values_count_both_sides():
    # three of 99 draws at or below zero: 2 * (1 + 3) / 100
    assert p_value(np.array([-1.0, -1.0, 0.0] + [1.0] * 96)) == pytest.approx(0.08)
    assert p_value(np.zeros(99)) == 1.0


@pytest.mark.parametrize("name", METRICS.names())
def test_pooled_gives_what_compute_gives(name):
    texts = [["a", "b", "a", "c"], ["a", "a", "a", "c"]]
    tags = [[["B-X", "I-X", "O"], ["O", "B-Y"]], [["B-X", "O", "O"], ["O", "B-Y"]]]
    pairs = {"q": "the cat", "r": "dog", "s": ""}, {"q": ["cat"], "r": ["a dog ran"], "s": [""]}
    inputs = {
        "chunk_f1": tags, "pos_f1": tags, "token_accuracy": tags,
        "squad": pairs, "squad_v2": pairs, "mlqa": pairs,
        "bucc": ([("a", "1"), ("b", "2")], [("a", "1"), ("c", "3"), ("d", "4")]),
        "ap_at_k": ([["1", "2"], ["3", "4"]], [["2"], ["3", "9"]]),
        "perplexity": ([(1.5, 2), (3.0, 4)], ()),
    }  # fmt: skip
    metric, given = METRICS.get(name), inputs.get(name, texts)
    rows = np.asarray(metric.outcomes(*given, language="en"), np.float64)
    rows = rows.reshape(len(rows), -1)
    found = metric.pooled(rows.sum(0), len(rows))
    assert float(found) == pytest.approx(metric.compute(*given, language="en")[metric.MAIN])


# -- comparisons


def test_one_run_on_one_unit_is_mcnemars_test():
    ours = runs("a", s1={"t/de": [1] * 8 + [0] + [1] * 11})
    theirs = runs("none", s1={"t/de": [0] * 8 + [1] + [1] * 11})
    verdict = compare(ours, theirs)
    assert verdict.effect == pytest.approx(35.0)  # 19 of 20 against 12
    assert (verdict.p, verdict.test) == (pytest.approx(20 / 512), "McNemar, exact")
    assert verdict.words == HIGHER and verdict.n == 20
    assert verdict.low < 35 < verdict.high
    assert verdict.size == pytest.approx(cohens_h(95, 60))
    assert compare(theirs, ours).words == LOWER


def test_the_mean_is_over_languages_then_tasks():
    ours = runs("a", s1={"t/de": [1, 1], "t/fr": [1, 0], "u/de": [1, 1]})
    theirs = runs("b", s1={"t/de": [0, 0], "t/fr": [1, 0], "u/de": [1, 1], "u/fr": [0, 0]})
    verdict = compare(ours, theirs)
    # task t: (100 + 0) / 2, task u: 0; their mean
    assert verdict.effect == pytest.approx(25.0)
    assert (verdict.units, verdict.n, verdict.wins, verdict.losses) == (3, 6, 1, 0)
    assert "u/fr" not in verdict.what
    assert compare(ours, theirs, [Unit("t", "de"), Unit("t", "xx")]).notes[-1].startswith("1 unit")


def test_equal_systems_show_no_difference():
    drawn = np.random.default_rng(3).integers(0, 2, (3, 200))
    table = {f"s{seed}": {"t/de": rows.tolist()} for seed, rows in enumerate(drawn)}
    verdict = compare(runs("a", **table), runs("b", **table))
    assert (verdict.effect, verdict.p, verdict.words) == (0.0, 1.0, NOTHING)
    assert verdict.sd == 0.0


def test_seeds_are_paired_and_shown():
    generator = np.random.default_rng(0)
    base = generator.random(400)

    def table(shift):
        levels = (0.6, 0.7, 0.8)  # seeds differ much, but equally on both sides
        return {
            f"s{n}": {"t/de": (base < level + shift).astype(int).tolist()}
            for n, level in enumerate(levels)
        }

    verdict = compare(runs("a", **table(0.05)), runs("b", **table(0.0)))
    assert verdict.words == HIGHER and verdict.seeds == (3, 3)
    assert verdict.test == "two-level bootstrap"
    assert verdict.sd is not None and verdict.sd < 3
    apart = runs("b", **{f"s{n + 5}": units for n, units in enumerate(table(0.0).values())})
    assert compare(runs("a", **table(0.05)), apart).words == NOTHING  # not paired: 10 points of sd


def test_what_is_not_random_counts_for_every_seed():
    base = [1, 0, 0, 1] * 10
    none = runs("none", **{"s-1": {"t/de": base}, "s1": {"x/de": base}, "s2": {"x/de": base}})
    ours = runs("a", **{f"s{n}": {"t/de": [1] * 40, "x/de": base} for n in (1, 2)})
    verdict = compare(ours, none)
    assert (verdict.effect, verdict.seeds, verdict.units) == (pytest.approx(25.0), (2, 2), 2)
    assert compare(ours, none, [Unit("t", "de")]).seeds == (2, 1)


def test_a_seed_that_lacks_a_language_is_left_out():
    ours = runs("a", s1={"t/de": [1, 1], "t/fr": [1, 1]}, s2={"t/de": [1, 0]})
    base = runs("b", s1={"t/de": [0, 1], "t/fr": [0, 0]})
    assert compare(ours, base).seeds == (1, 1)
    assert compare(ours, base, [Unit("t", "de")]).seeds == (2, 1)


def test_few_seeds_say_so():
    ours = runs("a", s1={"t/de": [1, 0, 1]}, s2={"t/de": [1, 1, 1]})
    verdict = compare(ours, runs("none", **{"s-1": {"t/de": [0, 0, 1]}}))
    assert verdict.sd is None and verdict.seeds == (2, 1)
    assert verdict.notes == ("2 seeds of 'a': no spread over seeds",)


def test_difference_of_differences_by_hand():
    ours = runs("a", s1={"t/ru": [1, 1, 1, 1], "t/de": [1, 1, 0, 0], "t/fr": [1, 0, 0, 0]})
    none = runs("b", s1={"t/ru": [0, 0, 0, 1], "t/de": [1, 0, 0, 0], "t/fr": [1, 0, 0, 0]})
    latin = [Unit("t", "de"), Unit("t", "fr")]
    verdict = difference_of_differences(ours, none, [Unit("t", "ru")], latin)
    assert verdict.effect == pytest.approx(75 - (25 + 0) / 2)
    with pytest.raises(UsageError, match="1 units are in both groups"):
        difference_of_differences(ours, none, latin, latin[:1])


def test_what_cannot_be_compared_is_refused():
    ours, theirs = runs("a", s1={"t/de": [1, 0]}), runs("b", s1={"t/fr": [1, 0]})
    with pytest.raises(UsageError, match="no task and language in common"):
        compare(ours, theirs)
    other = Runs("b", {1: {Unit("t", "de"): run([1, 0], data="other")}})
    with pytest.raises(UsageError, match="different examples of t/de"):
        compare(ours, other)


def test_without_outcomes_only_the_effect_is_given():
    bare = Runs("b", {1: {Unit("t", "de"): Measured(40.0, None, _pooled.mean)}})
    verdict = compare(runs("a", s1={"t/de": [1, 0]}), bare)
    assert (verdict.effect, verdict.p, verdict.words) == (10.0, None, UNTESTED)
    one = Runs("c", {1: {Unit("t", "de"): run([[3, 5, 4]], _pooled.f1)}})
    assert "nothing to draw from" in compare(one, one).notes[-1]


def test_an_end_near_zero_keeps_its_side():
    near = Verdict("a", "b", "t", -0.21, low=-0.4, high=-0.03, p=0.032)
    assert str(near) == "-0.21 points [-0.40, -0.03], p 0.032: lower"
    far = Verdict("a", "b", "t", -0.21, low=-0.4, high=-0.06, p=0.032)
    assert str(far) == "-0.2 points [-0.4, -0.1], p 0.032: lower"


def test_a_family_is_adjusted_and_the_untested_left_alone():
    shown = [Verdict("a", "b", "t", 1.0, p=p) for p in (0.02, 0.04, None)]
    adjusted = family(shown)
    assert [v.p_holm for v in adjusted] == [pytest.approx(0.04), pytest.approx(0.04), None]
    assert [v.words for v in adjusted] == [HIGHER, HIGHER, UNTESTED]
    assert family([Verdict("a", "b", "t", -1.0, p=0.03)] * 2)[0].words == NOTHING
    assert str(adjusted[0]) == "+1.0 points, p 0.020, Holm 0.040: higher"


def test_a_large_effect_is_found_in_a_family_of_any_size():
    size, draws = 300, 1000
    never = Verdict("a", "b", "t", 40.0, p=2 / (draws + 1))  # no draw on the other side
    assert family([never] * size)[0].words == NOTHING
    enough = family_draws(draws, size)
    least = replace(never, p=2 / (enough + 1))
    assert family([least] * size)[0].p_holm == pytest.approx(0.02, rel=1e-3)
    assert family_draws(draws, 3) == draws


# -- from stored cells


def put(store, label, seed, language, hits, digest="m", value=None, metric="accuracy"):
    score = Score(
        expression=label, intermediate=label, digest=digest, backbone="b", fingerprint="f",
        task="xnli", language=language, split="test", metric=METRICS.get(metric).MAIN,
        value=100 * sum(hits) / len(hits) if value is None else value, n=len(hits), seed=seed,
    )  # fmt: skip
    identity = {"metric": metric, "data": ["x"], "expression": digest, "language": language}
    return store.put({**identity, "label": label, "seed": seed}, [score], "a\n", "tsv", hits, 1.0)


def test_stored_cells_are_collected_by_label_and_seed(tmp_path):
    store = ResultStore(tmp_path)
    for seed in (1, 2, 3):
        put(store, "mnli", seed, "de", [1, 1, 1, 0])
        put(store, "mnli", seed, "ru", [1, 0, 1, 0])
    put(store, "none", -1, "de", [0, 1, 0, 0])
    found = collect(store.cells())
    assert found["mnli"].seeds == (1, 2, 3) and len(found["mnli"].units) == 2
    verdict = compare(found["mnli"], found["none"])
    assert (verdict.effect, verdict.units, verdict.n) == (pytest.approx(50.0), 1, 4)
    assert collect(store.cells(), fingerprint="other") == {}


def test_the_newest_of_two_trainings_counts(tmp_path):
    store = ResultStore(tmp_path)
    old = put(store, "mnli", 1, "de", [0, 0], digest="old")
    put(store, "mnli", 1, "de", [1, 1], digest="new")
    found = collect(store.cells())["mnli"]
    assert found.older == (old.key,)
    assert found.table[1][Unit("xnli", "de", "test")].value == 100.0


def test_outcomes_that_do_not_give_the_score_are_refused(tmp_path):
    store = ResultStore(tmp_path)
    put(store, "a", 1, "de", [1, 0, 1], value=90.0)
    put(store, "b", 1, "de", [1, 0, 0])
    found = collect(store.cells())
    with pytest.raises(IntegrityError, match=r"66\.666667, its score is 90"):
        compare(found["a"], found["b"])


@pytest.mark.parametrize("content", ["", "[1, 0", '{"a": 1}', '["x"]', "[[1, 0], [1]]"])
def test_damaged_outcomes_are_refused_by_name(content, tmp_path):
    store = ResultStore(tmp_path)
    cell = put(store, "a", 1, "de", [1, 0, 1])
    put(store, "b", 1, "de", [1, 0, 0])
    (cell.folder / "outcomes.json").write_text(content)
    found = collect(store.cells())
    with pytest.raises(IntegrityError, match="outcomes of a cell are broken") as caught:
        compare(found["a"], found["b"])
    assert str(cell.folder) in caught.value.where
    assert "--task xnli --langs de --split test --force" in caught.value.hint


def test_outcomes_of_another_metric_are_refused_by_name(tmp_path):
    store = ResultStore(tmp_path)
    for label in ("a", "b"):
        put(store, label, 1, "de", [1, 0, 1], metric="chunk_f1")
    found = collect(store.cells())
    with pytest.raises(IntegrityError, match="outcomes of a cell are broken"):
        compare(found["a"], found["b"])


# -- simulations


def correlated(generator, n, first, second, shared):
    """Right and wrong answers of two systems with these accuracies, partly on the same examples."""
    common, own = generator.random(n), generator.random(n)
    other = np.where(generator.random(n) < shared, common, own)
    return [
        (draw < rate)[:, None].astype(float) for draw, rate in ((common, first), (other, second))
    ]


@pytest.mark.long
def test_95_percent_intervals_cover_95_percent():
    generator = np.random.default_rng(11)
    inside = 0
    for _ in range(2000):
        _, drawn = resampled_scores(
            correlated(generator, 250, 0.70, 0.64, 0.5), _pooled.mean, 1000, generator
        )
        low, high = interval(drawn[:, 0] - drawn[:, 1])
        inside += low <= 6.0 <= high
    assert 0.93 <= inside / 2000 <= 0.97


def null_family(generator, members, seeds):
    verdicts = []
    for _ in range(members):
        tables = {}, {}
        for language in ("de", "ru"):
            difficulty = generator.normal(0, 1, 120)
            for seed, table in ((s, t) for s in range(seeds) for t in tables):
                skill = generator.normal(0.6, 0.1)
                hits = difficulty < skill + generator.normal(0, 0.5, 120)
                table.setdefault(f"s{seed}", {})[f"t/{language}"] = hits.astype(int).tolist()
        a, b = (runs(name, **table) for name, table in zip("ab", tables, strict=True))
        verdicts.append(compare(a, b, draws=2000, seed=int(generator.integers(2**31))))
    return family(verdicts)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "families"), [(3, 300), (5, 200)])
def test_false_positives_after_holm_are_at_most_5_percent(seeds, families):
    generator = np.random.default_rng(17)
    wrong = sum(
        any(verdict.words != NOTHING for verdict in null_family(generator, 6, seeds))
        for _ in range(families)
    )
    assert wrong / families <= 0.05


def test_false_positives_of_single_runs_after_holm_are_at_most_5_percent():
    generator = np.random.default_rng(19)
    wrong = 0
    for _ in range(1000):
        values = []
        for _ in range(8):
            a, b = correlated(generator, 200, 0.7, 0.7, 0.5)
            values.append(mcnemar(int((a > b).sum()), int((a < b).sum())))
        wrong += min(holm(values)) < 0.05
    assert wrong / 1000 <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("of_seeds", "of_runs"), [(0.0, 0.5), (0.1, 0.5), (0.3, 0.1), (0.3, 0.5)])
def test_intervals_over_three_seeds_cover_95_percent(of_seeds, of_runs):
    """Whatever the spread over seeds is, and however much of it belongs to single examples."""
    generator = np.random.default_rng(23)
    inside = 0
    for _ in range(2000):
        difficulty = generator.normal(0, 1, 300)

        def answers(difficulty=difficulty):
            skill = generator.normal(0.5, of_seeds)
            return (difficulty < skill + generator.normal(0, of_runs, 300))[:, None].astype(float)

        values, drawn = resampled_scores(
            [answers() for _ in range(6)], _pooled.mean, 1000, generator
        )
        paired = Spread(values[:3], drawn[:, :3]) - Spread(values[3:], drawn[:, 3:])
        low, high = interval(paired.mean(generator))
        inside += low <= 0.0 <= high
    assert 0.93 <= inside / 2000 <= 0.97


# -- what may not be claimed


def three(label, rows):
    return runs(label, **{f"s{seed}": {"t/de": rows} for seed in (1, 2, 3)})


def test_outcomes_that_never_differ_have_no_interval_and_no_power():
    right = [1, 0] * 20
    verdict = compare(three("a", right), three("b", right))
    assert (verdict.low, verdict.high) == (None, None)
    assert (verdict.claim, detectable(verdict)) == ("nothing varies", None)
    assert verdict.numbers == "+0.0 points"
    # Always right against always wrong: no interval either, since whatever is drawn gives 100.
    verdict = compare(three("a", [1] * 40), three("b", [0] * 40))
    assert (verdict.effect, verdict.low, verdict.claim) == (100.0, None, "nothing varies")


def test_fewer_than_three_trainings_say_nothing_of_training():
    ours, none = [1] * 30 + [0] * 10, [1] * 12 + [0] * 28
    one = compare(runs("a", s1={"t/de": ours}), runs("none", **{"s-1": {"t/de": none}}))
    assert (one.words, one.claim) == (HIGHER, THESE_RUNS)
    assert one.low is not None and detectable(one) is None
    assert not one.decided
    # The untouched backbone is not trained, so it needs no seeds.
    base = Runs("none", {-1: {Unit("t", "de"): replace(run(none), trained=False)}})
    assert not base.few_trainings
    noisy = {f"s{seed}": {"t/de": [1] * (29 + seed) + [0] * (11 - seed)} for seed in (1, 2, 3)}
    assert compare(runs("a", **noisy), base).claim == HIGHER
    # A module whose parts have several seeds has none of its own; it is trained all the same.
    assert runs("average", **{"s-1": {"t/de": none}}).few_trainings


def test_few_examples_have_no_interval_and_few_units_no_sign_test():
    verdict = compare(three("a", [1, 1, 0, 1]), three("b", [0, 1, 0, 0]))
    assert (verdict.low, verdict.claim) == (None, "too few examples")
    rows = {f"t/{code}": [1, 1, 0, 1, 1, 1] for code in ("de", "fr", "it", "es")}
    less = {unit: [0, 1, 0, 0, 1, 1] for unit in rows}
    one = compare(runs("a", s1=rows), runs("b", s1=less))
    assert (one.wins, one.losses, one.sign_p) == (4, 0, None)
    rows["t/pt"], less["t/pt"] = rows["t/de"], less["t/de"]
    five = compare(runs("a", s1=rows), runs("b", s1=less))
    assert five.sign_p == pytest.approx(2 * 0.5**5)  # five of five heads, two-sided


# -- standard errors


def test_a_standard_error_of_a_share_is_the_binomial_one():
    rows = np.array([[1.0]] * 30 + [[0.0]] * 10)
    assert standard_error(rows, _pooled.mean) == pytest.approx(100 * (0.75 * 0.25 / 39) ** 0.5)


def test_a_standard_error_of_a_ratio_is_near_that_of_the_bootstrap():
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 4, (400, 3)).astype(float)
    ratio = lambda sums, n: 200 * sums[..., 0] / (sums[..., 1] + sums[..., 2])  # noqa: E731
    _, drawn = resampled_scores([rows], ratio, 4000, generator)
    assert standard_error(rows, ratio) == pytest.approx(drawn.std(), rel=0.06)


def test_outcomes_that_say_nothing_of_their_spread_have_no_standard_error(tmp_path):
    store = ResultStore(tmp_path)
    put(store, "right", 1, "de", [1] * 50)
    put(store, "wrong", 1, "de", [0] * 50)
    put(store, "few", 1, "de", [1, 0, 1, 0])
    known = put(store, "known", 1, "de", [1, 0, 1, 0, 1])
    assert standard_errors(store.cells()) == {known.key: pytest.approx(100 * (0.24 / 4) ** 0.5)}


@pytest.mark.long
def test_cells_know_their_standard_errors(tmp_path):
    store = fill(tmp_path, tasks=("xnli",), seeds=(1,), most=2, examples=120)
    errors = standard_errors(store.cells())
    plain = [cell for cell in store.cells() if not cell.scores[0].group]
    assert errors.keys() == {cell.key for cell in plain}  # alignment has no main score
    for cell in plain:
        share = cell.scores[0].value / 100
        assert errors[cell.key] == pytest.approx(100 * (share * (1 - share) / 119) ** 0.5)
