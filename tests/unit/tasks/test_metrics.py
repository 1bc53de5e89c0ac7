"""Each metric against arithmetic done by hand; chunk rules against seqeval on B/I tags."""

from __future__ import annotations

import random

import pytest

from xstilts.errors import DataError, UsageError
from xstilts.tasks.metrics import METRICS, accuracy, bucc, chunk_f1, mlqa, pos_f1, squad


@pytest.mark.parametrize("name", METRICS.names())
def test_contract(name):
    module = METRICS.get(name)
    assert isinstance(module.MAIN, str)
    assert callable(module.compute)
    assert callable(module.outcomes)


def test_accuracy_compares_text():
    assert accuracy.compute(["3", "03", "a", "A"], ["3", "3", "a", "a"]) == {"accuracy": 50.0}
    with pytest.raises(DataError, match="1 predicted lines for 2"):
        accuracy.compute(["a"], ["a", "b"])


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["I-PER", "I-PER", "O"], {("PER", 0, 1)}),
        (["B-PER", "B-PER"], {("PER", 0, 0), ("PER", 1, 1)}),
        (["B-PER", "I-LOC"], {("PER", 0, 0), ("LOC", 1, 1)}),
        (["O", "I-ORG"], {("ORG", 1, 1)}),
        (["O", "O"], set()),
    ],
)
def test_chunks(tags, expected):
    assert chunk_f1.chunks(tags) == expected


def test_types_may_hold_dashes():
    # conlleval cuts after the first dash: GPE-LOC and ORG-LOC are two types, so nothing agrees
    gold = [["B-GPE-LOC", "I-GPE-LOC", "O", "B-ORG-LOC"]]
    predicted = [["B-ORG-LOC", "I-ORG-LOC", "O", "B-GPE-LOC"]]
    assert chunk_f1.chunks(gold[0]) == {("GPE-LOC", 0, 1), ("ORG-LOC", 3, 3)}
    assert chunk_f1.compute(predicted, gold) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert chunk_f1.compute(gold, gold)["f1"] == 100.0


def test_bare_tags_are_whole_types():
    # one of two right; ORG is a type, not an O, and no dash is cut out of a bare type
    scores = chunk_f1.compute([["PER", "O", "LOC"]], [["PER", "O", "ORG"]])
    assert scores == {"f1": 50.0, "precision": 50.0, "recall": 50.0}
    assert chunk_f1.chunks(["GPE-LOC", "GPE-LOC", "ORG-LOC"]) == {
        ("GPE-LOC", 0, 1),
        ("ORG-LOC", 2, 2),
    }
    # chunks without types
    assert chunk_f1.chunks(["B", "I", "O", "I", "B"]) == {("", 0, 1), ("", 3, 3), ("", 4, 4)}
    # parts of speech keep the whole tag: NN-PL is not VB-PL
    assert pos_f1.compute([["NN-PL"]], [["VB-PL"]])["f1"] == 0.0
    assert pos_f1.compute([["NN-PL"]], [["NN-PL"]])["f1"] == 100.0


def test_pos_runs_by_the_old_rule():
    # NOUN NOUN is one run; each SCONJ is its own; INTJ needs no B.
    assert chunk_f1.chunks(["NOUN", "NOUN", "VERB"], pos_f1.whole_tag) == {
        ("NOUN", 0, 1),
        ("VERB", 2, 2),
    }
    assert chunk_f1.chunks(["SCONJ", "SCONJ"], pos_f1.whole_tag) == {
        ("SCONJ", 0, 0),
        ("SCONJ", 1, 1),
    }
    assert chunk_f1.chunks(["INTJ", "INTJ"], pos_f1.whole_tag) == {("INTJ", 0, 1)}
    # gold runs: NOUN[0..1] VERB[2]; predicted: NOUN[0] VERB[1..2]; none right, one of three words.
    got = pos_f1.compute([["NOUN", "VERB", "VERB"]], [["NOUN", "NOUN", "VERB"]])
    assert got["f1"] == 0.0
    assert got["token_accuracy"] == pytest.approx(200 / 3)


def test_chunk_f1_equals_seqeval_on_prefixed_tags():
    seqeval = pytest.importorskip("seqeval.metrics")
    draw = random.Random(4)
    tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
    gold = [[draw.choice(tags) for _ in range(draw.randint(1, 12))] for _ in range(200)]
    predicted = [[t if draw.random() < 0.7 else draw.choice(tags) for t in s] for s in gold]
    got = chunk_f1.compute(predicted, gold)
    assert got["f1"] == pytest.approx(100 * seqeval.f1_score(gold, predicted))
    assert got["precision"] == pytest.approx(100 * seqeval.precision_score(gold, predicted))


def test_squad_by_hand():
    # "the Eiffel Tower!" -> eiffel tower; gold "Eiffel tower in Paris" -> 4 words, 2 common:
    # P = 2/2, R = 2/4, F1 = 2/3; the second gold is equal, so EM 1 and F1 1 by maximum.
    assert squad.compute({"q": "the Eiffel Tower!"}, {"q": ("Eiffel tower in Paris",)}) == {
        "exact_match": 0.0,
        "f1": pytest.approx(200 / 3),
        "mean": pytest.approx(100 / 3),
    }
    assert squad.compute({"q": "a x"}, {"q": ("y", "X.")})["exact_match"] == 100.0


def test_squad_corner_cases():
    assert squad.compute({"q": "the"}, {"q": ("a",)}) == {
        "exact_match": 100.0,
        "f1": 0.0,
        "mean": 50.0,
    }
    assert squad.compute({"other": "x"}, {"q": ("x",)})["f1"] == 0.0
    with pytest.raises(DataError, match="no gold"):
        squad.compute({"q": "x"}, {"q": ()})


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Der Hund und die Katze", "de", ["hund", "und", "katze"]),
        ("الكتاب", "ar", ["كتاب"]),
        ("والكتاب", "ar", ["و", "كتاب"]),
        ("中国 2008年", "zh", ["中", "国", "2008", "年"]),
        ("¿El niño?", "es", ["niño"]),
        ("$5 + 3", "en", ["5", "3"]),
        ("का फूल।", "hi", ["का", "फूल"]),
        ("những con mèo", "vi", ["con", "mèo"]),
    ],
)
def test_mlqa_words(text, language, expected):
    assert mlqa.words(text, language) == expected


def test_mlqa_refuses_other_languages():
    with pytest.raises(UsageError, match="'fr'"):
        mlqa.compute({"q": "x"}, {"q": ("x",)}, language="fr")


def test_mlqa_has_no_default_language():
    with pytest.raises(UsageError, match="needs the answers' language") as caught:
        mlqa.compute({"q": "x"}, {"q": ("x",)})
    assert "Known: ar, de" in caught.value.hint


def test_bucc_by_hand():
    gold = [("a", "1"), ("b", "2"), ("c", "3")]
    # 1 of 2 predicted right, 1 of 3 gold found: P 1/2, R 1/3, F1 = 2/5.
    got = bucc.compute([("a", "1"), ("a", "1"), ("b", "9")], gold)
    assert got["f1"] == pytest.approx(40.0)
    assert bucc.compute([("a", "1", "0.5")], gold)["f1"] == 0.0
