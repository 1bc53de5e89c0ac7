"""Metrics of SQuAD 2.0, ranked retrieval and masked language modelling, by hand."""

from __future__ import annotations

import math

import pytest

from xstilts.errors import DataError
from xstilts.tasks.metrics import ap_at_k, perplexity, squad_v2


def test_average_precision_is_cut_at_k_and_divided_by_the_smaller_number():
    # Hits at ranks 1 and 3 of three golds: (1/1 + 2/3) / 3; with k = 2 only the first: 1 / 2.
    ranked, golds = [["a", "x", "b", "y"]], [["a", "b", "c"]]
    assert ap_at_k.compute(ranked, golds) == {"map": pytest.approx(100 * (1 + 2 / 3) / 3)}
    assert ap_at_k.compute(ranked, golds, k=2) == {"map": pytest.approx(50.0)}
    # One gold: the reciprocal rank; nothing found: 0.
    assert ap_at_k.outcomes([["x", "a"], ["x"]], [["a"], ["a"]]) == [0.5, 0.0]
    with pytest.raises(DataError, match="nothing to find"):
        ap_at_k.compute([["a"]], [[]])
    with pytest.raises(DataError, match="1 predicted"):
        ap_at_k.compute([["a"]], [["a"], ["b"]])


def test_no_answer_counts_when_none_is_right():
    golds = {"1": ("",), "2": ("The river",), "3": ("",), "4": ("a house",), "5": ("x",)}
    said = {"1": "", "2": "river bank", "3": "no", "4": ""}
    # F1: 1; "river bank" against "river" 2/3; 0; 0; missing 0. Exact: only the first.
    assert squad_v2.compute(said, golds) == {
        "exact_match": pytest.approx(20.0),
        "f1": pytest.approx(100 * (1 + 2 / 3) / 5),
        "answered_f1": pytest.approx(100 * (2 / 3) / 3),
        "unanswered": pytest.approx(50.0),
    }
    # Of a kind of question that is not there nothing is said.
    assert "answered_f1" not in squad_v2.compute({"e": ""}, {"e": []})
    assert "unanswered" not in squad_v2.compute({"a": "x"}, {"a": ["x"]})


def test_perplexity_weighs_sub_words_not_rows():
    # (6 + 2) nats over 3 + 1 sub-words: 2 nats each.
    found = perplexity.compute([(6.0, 3), (2.0, 1)])
    assert found == {"perplexity": pytest.approx(math.exp(2)), "loss": pytest.approx(2.0)}
