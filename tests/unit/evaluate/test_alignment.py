"""Measures of alignment against hand arithmetic and against slow plain loops."""

from __future__ import annotations

import math
from statistics import mean
from types import SimpleNamespace

import numpy as np
import pytest

from xstilts.data.examples import Example
from xstilts.data.pairs import BitextPair
from xstilts.errors import UsageError
from xstilts.evaluate.alignment import bitext, measures
from xstilts.evaluate.alignment.bitext import COLUMNS, align, measured
from xstilts.evaluate.request import EvaluationOutcome
from xstilts.evaluate.stats import Unit, collect, compare
from xstilts.evaluate.store import ResultStore, Score
from xstilts.report.alignment import alignment_errors, alignment_table, paired_measure
from xstilts.report.results import ScoresResult
from xstilts.report.sections.alignment import alignment_section


def ignore(_text, _share):
    pass


# -- by hand

# Query 0 is nearest to candidate 0, query 1 too, by a little: candidate 0 is a hub.
COSINES = np.array([[0.9, 0.2], [0.8, 0.7]])
GOLD = np.array([0, 1])
HUB = np.array([0.05, 0.0])


def test_nearest_and_ranks_by_hand():
    assert measures.nearest_hits(COSINES, GOLD).tolist() == [True, False]
    assert measures.reciprocal_ranks(COSINES, GOLD).tolist() == [1.0, 0.5]
    # equal candidates: the lower number comes first
    tie = np.array([[0.5, 0.5]])
    assert measures.reciprocal_ranks(tie, np.array([1])).tolist() == [0.5]
    assert measures.nearest_hits(tie, np.array([0])).tolist() == [True]


def test_margin_and_csls_by_hand():
    own = COSINES.max(1)  # one neighbour: .9 and .8
    other = COSINES.max(0)  # .9 and .7
    # query 1: .8 / .85 against .7 / .75 for the ratio: .941 against .933, still the hub
    assert measures.margin_hits(COSINES, GOLD, own, other).tolist() == [True, False]
    # 1.6 - .8 - .9 = -.1 against 1.4 - .8 - .7 = -.1 is a tie; a little less hub decides
    assert measures.csls_hits(COSINES, GOLD, own, other + HUB / 5).tolist() == [True, True]
    assert measures.margin_hits(COSINES, GOLD, own, other + HUB).tolist() == [True, True]


def test_cka_by_hand():
    first = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    turned = first @ np.array([[0.0, 1.0], [-1.0, 0.0]]) * 3 + 5
    assert measures.linear_cka(first, turned) == pytest.approx(1.0)
    # one axis kept of two: ||X'Y||^2 = 4, ||X'X|| = sqrt(8), ||Y'Y|| = 2
    assert measures.linear_cka(first, first[:, :1]) == pytest.approx(4 / (math.sqrt(8) * 2))
    assert measures.linear_cka(first, np.ones((4, 2))) == 0.0


def test_hubness_by_hand():
    assert measures.hubness(np.array([[0], [1], [2]]), 3) == 0.0
    # occurrences 3, 0, 0: mean 1, third moment (8 - 1 - 1) / 3 = 2, variance (4 + 1 + 1) / 3 = 2
    assert measures.hubness(np.array([[0], [0], [0]]), 3) == pytest.approx(2 / 2**1.5)


def test_mean_cosine_and_isotropy_by_hand():
    compass = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    # opposite pairs -1 (4 of 12 ordered pairs), the rest 0
    assert measures.mean_cosine(compass) == pytest.approx(-4 / 12)
    assert measures.isotropy(compass) == pytest.approx(1.0)
    same = np.tile([[1.0, 0.0]], (3, 1))
    assert measures.mean_cosine(same) == pytest.approx(1.0)
    assert measures.isotropy(same) == pytest.approx(math.exp(-1) / math.exp(1))
    assert measures.mean_cosine(same[:1]) == 0.0


# -- against loops


def loops(language, pivot, k_margin=4, k_csls=10):
    """All measures of pairs, one sentence at a time."""

    def cosine(a, b):
        return float(a @ b / (math.sqrt(a @ a) * math.sqrt(b @ b)))

    n = len(language)
    table = [[cosine(p, x) for x in language] for p in pivot]
    columns = [[row[j] for row in table] for j in range(n)]

    def around(values, k):
        return mean(sorted(values, reverse=True)[:k])

    result = []
    for i, row in enumerate(table):
        ratio = [
            row[j] / ((around(row, k_margin) + around(columns[j], k_margin)) / 2) for j in range(n)
        ]
        scaled = [2 * row[j] - around(row, k_csls) - around(columns[j], k_csls) for j in range(n)]
        result.append(
            (
                row.index(max(row)) == i,
                columns[i].index(max(columns[i])) == i,
                ratio.index(max(ratio)) == i,
                scaled.index(max(scaled)) == i,
                1 / (1 + sum(value > row[i] for value in row)),
            )
        )
    return np.array(result, float)


def sides(n=70, size=12, noise=0.9):
    generator = np.random.default_rng(4)
    pivot = generator.normal(size=(n, size)) + 0.8
    return (pivot + noise * generator.normal(size=pivot.shape)).astype(np.float32), pivot.astype(
        np.float32
    )


@pytest.mark.parametrize("block", [1024, 32])
def test_all_measures_equal_plain_loops(block, monkeypatch):
    monkeypatch.setattr(bitext, "BLOCK", block)
    language, pivot = sides()
    _, outcomes, scores = measured(language, pivot, ignore)
    plain = loops(language.astype(float), pivot.astype(float))
    assert outcomes == pytest.approx(plain)
    for name, values in zip(COLUMNS, plain.T, strict=True):
        assert scores[name] == pytest.approx(100 * values.mean())
    assert 5 < scores["from_pivot"] < 95  # neither trivial
    # CKA by its definition with the centring matrix
    centre = np.eye(70) - 1 / 70
    gram = [
        centre @ side.astype(float) @ side.astype(float).T @ centre for side in (language, pivot)
    ]
    within = math.sqrt((gram[0] ** 2).sum() * (gram[1] ** 2).sum())
    assert scores["cka"] == pytest.approx(100 * (gram[0] * gram[1]).sum() / within)
    unit = language / np.linalg.norm(language, axis=1, keepdims=True)
    cosines = [float(a @ b) for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j]
    assert scores["mean_cosine"] == pytest.approx(100 * mean(cosines), abs=1e-3)


def test_a_sentence_needs_exactly_one_translation():
    rows = [Example(str(n), "de", {"text": t}) for n, t in enumerate("ab")]
    with pytest.raises(UsageError, match="one translation each"):
        align(BitextPair(rows, rows, [(0, 0), (1, 0)]), lambda _: np.eye(2), ignore)
    done = align(BitextPair(rows, rows, [(0, 1), (1, 0)]), lambda _: np.eye(2), ignore)
    assert done.scores["from_pivot"] == 0.0 and done.scores["mrr"] == 50.0


# -- rows


def put(store, label, layer, outcomes, step=-1, language="de"):
    values = dict(zip(COLUMNS, 100 * np.mean(outcomes, axis=0), strict=True))
    base = Score(
        expression=label, intermediate=label, digest=label, backbone="b", fingerprint="f",
        task="ntrex", group="alignment", domain="news", language=language, split="test", metric="",
        main=False, value=0, n=len(outcomes), layer=layer, pooling="mean", step=step,
    )  # fmt: skip
    rows = [base.model_copy(update={"metric": n, "value": float(v)}) for n, v in values.items()]
    identity = {
        "metric": "tatoeba",
        "data": ["x"],
        "label": label,
        "layer": layer,
        "language": language,
    }
    store.put(identity, rows, "0\n", "tsv", outcomes, 1.0)


def test_measures_are_paired_over_sentences(tmp_path):
    store = ResultStore(tmp_path)
    put(store, "mnli", 7, [[1, 1, 1, 1, 1.0]] * 6)
    put(store, "none", 7, [[0, 1, 1, 1, 0.5]] * 6)
    found = collect(store.cells(), chosen=paired_measure("mrr"))
    verdict = compare(found["mnli"], found["none"])
    assert verdict.effect == pytest.approx(50.0)
    assert found["mnli"].units == {Unit("ntrex", "de", "test", 7, "mean")}
    assert collect(store.cells()) == {}  # none of them is a main score


def test_the_table_has_a_row_for_each_expression_and_block(tmp_path):
    store = ResultStore(tmp_path)
    put(store, "mnli", 7, [[1, 0, 1, 1, 1.0]])
    put(store, "mnli", 8, [[0, 0, 1, 1, 0.5]])
    view = alignment_table(store.scores())
    assert view.title == "ntrex: mean over 1 languages, domain news"
    shown = {row[:2]: dict(zip(view.columns[2:], row[2:], strict=True)) for row in view.rows}
    assert shown["mnli", 7]["from_pivot"] == 100.0 and shown["mnli", 8]["mrr"] == 50.0
    assert shown["mnli", 8]["cka"] == ""
    assert alignment_errors(store.cells()) == {}  # one sentence says nothing of how far it is off


def test_the_table_has_the_standard_error_of_each_mean(tmp_path):
    store = ResultStore(tmp_path)
    put(store, "mnli", 7, [[1, 0, 1, 1, 1.0], [0, 0, 1, 1, 0.5]] * 8)
    put(store, "mnli", 7, [[1, 0, 1, 1, 1.0], [0, 0, 1, 1, 0.5]] * 2, language="fr")
    view = alignment_table(store.scores(), alignment_errors(store.cells()))
    first, second = (dict(zip(view.columns, row, strict=True)) for row in view.rows)
    assert (first["expression"], second["expression"]) == ("mnli", "mnli ±")
    assert second["from_pivot"] == ""  # four sentences are too few
    put(store, "mnli", 8, [[1, 0, 1, 1, 1.0], [0, 0, 1, 1, 0.5]] * 8)
    put(store, "mnli", 8, [[1, 0, 1, 0, 1.0], [0, 0, 1, 1, 0.5]] * 3, language="fr")
    view = alignment_table(store.scores(), alignment_errors(store.cells()))
    found = {row[:2]: dict(zip(view.columns, row, strict=True)) for row in view.rows}["mnli ±", 8]
    # half of 16 and of 6 right: sqrt(p (1 - p) / (n - 1)), then of the mean of both languages
    german, french = 100 * math.sqrt(0.25 / 15), 100 * math.sqrt(0.25 / 5)
    assert found["from_pivot"] == pytest.approx(math.hypot(german, french) / 2)
    assert found["mrr"] == pytest.approx(found["from_pivot"] / 2)
    shown = ScoresResult(EvaluationOutcome(list(store.cells())))
    assert [made.rows for made in shown.views()] == [view.rows]  # also in a program
    assert "mnli ±" in repr(shown)
    assert found["csls"] == pytest.approx(french / 2)  # the German ones came out alike
    assert found["to_pivot"] == found["cka"] == ""  # all alike; and not of single sentences


def test_a_report_shows_the_spread_over_seeds():
    base = Score(
        expression="mnli", intermediate="mnli", digest="m", backbone="b", fingerprint="f",
        task="ntrex", group="alignment", domain="news", language="de", split="test", metric="mrr",
        main=False, value=0, n=10, layer=7, pooling="mean",
    )  # fmt: skip
    values = {1: (10, 20), 2: (20, 30), 3: (30, 40), 4: (90,)}  # means 15, 25, 35; and no French
    scores = [
        base.model_copy(update={"seed": seed, "language": language, "value": float(value)})
        for seed, own in values.items()
        for language, value in zip(("de", "fr"), own, strict=False)
    ]
    (table,) = alignment_section(SimpleNamespace(scores=scores)).tables
    shown = dict(zip(table.columns, table.rows[0], strict=True))["mrr"]
    assert (shown.text, shown.subtext) == ("33.8", "± 10.0")  # (150 / 4 + 90 / 3) / 2
    few = [score for score in scores if score.seed in (1, 2)]
    (table,) = alignment_section(SimpleNamespace(scores=few)).tables
    assert dict(zip(table.columns, table.rows[0], strict=True))["mrr"].subtext == ""
