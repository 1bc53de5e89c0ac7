"""Prediction and label files made by hand, with the arithmetic beside them."""

from __future__ import annotations

import json

import pytest

from xstilts.errors import DataError, NotFoundError, UsageError
from xstilts.tasks.metrics import METRICS
from xstilts.tasks.prediction_files import score_file


def squad(golds):
    questions = [
        {"id": key, "question": "?", "answers": [{"text": t, "answer_start": 0} for t in texts]}
        for key, texts in golds.items()
    ]
    return json.dumps({"data": [{"paragraphs": [{"context": "", "qas": questions}]}]})


@pytest.fixture
def score(tmp_path):
    def call(task, predictions, labels, language="en", suffix="tsv"):
        paths = tmp_path / f"p.{suffix}", tmp_path / f"l.{suffix}"
        for path, text in zip(paths, (predictions, labels), strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return score_file(task, *paths, language)

    return call


def test_lines_are_stripped_and_compared_as_text(score):
    # right: 1 (stripped), 3 (both blank); wrong: 2 (case), 4 (03 is not 3)
    made = score("xnli", " neutral \nNeutral\n\n03\n", "neutral\nneutral\n\n3\n")
    assert made == {"accuracy": 50.0}
    assert score("tatoeba", "[3]\n4\n5\n", "3\n4\n6\n") == {"accuracy": pytest.approx(100 / 3)}


def test_a_missing_last_line_end_and_crlf_change_nothing(score):
    assert score("pawsx", "0\r\n1", "0\n1\n") == {"accuracy": 100.0}


def test_a_cr_alone_ends_a_line(score):
    # right: 1 and 3 of three lines
    said, gold = "neutral\rentailment\rneutral\r", "neutral\rneutral\rneutral\r"
    for labels in (gold, gold.replace("\r", "\n")):
        assert score("xnli", said, labels) == {"accuracy": pytest.approx(200 / 3)}
    assert score("panx", "B-PER\r\rO", "B-PER\n\nO\n")["f1"] == 100.0
    with pytest.raises(DataError, match=r"line ends are mixed \(LF and CR\)"):
        score("xnli", "neutral\rneutral\n", "neutral\nneutral\n")


def test_predictions_may_all_be_blank(score):
    # two blank items against two labels: none right; a blank line is no mined pair
    assert score("xnli", "\n\n", "neutral\nneutral\n") == {"accuracy": 0.0}
    assert score("bucc2018", "\n", "de-1\ten-1\n")["f1"] == 0.0
    with pytest.raises(DataError, match="1 lines for 2"):
        score("xnli", "\n", "neutral\nneutral\n")


def test_entities(score):
    gold = "B-PER\nI-PER\nO\nB-LOC\n\nI-ORG\nO\n"
    # sentence 1: PER 0-1 right, LOC 3 predicted as I-LOC after O: opens a chunk, right
    # sentence 2: gold I-ORG opens ORG 0; predicted B-ORG I-ORG is ORG 0-1: wrong
    predicted = "B-PER\nI-PER\nO\nI-LOC\n\nB-ORG\nI-ORG\n"
    made = score("panx", predicted, gold)
    # 2 right of 3 predicted and 3 gold
    assert made == pytest.approx({"precision": 200 / 3, "recall": 200 / 3, "f1": 200 / 3})


def test_pos_counts_runs_of_equal_tags(score):
    # gold runs: DET 0, NOUN 1-2, VERB 3 | SCONJ 0, SCONJ 1 (each S tag is a chunk of its own)
    gold = "DET\nNOUN\nNOUN\nVERB\n\nSCONJ\nSCONJ\n"
    # predicted: DET 0, NOUN 1, PROPN 2, VERB 3 | SCONJ 0, CCONJ 1
    predicted = "DET\nNOUN\nPROPN\nVERB\n\nSCONJ\nCCONJ\n"
    made = score("udpos", predicted, gold)
    # right: DET, VERB, SCONJ 0 = 3 of 6 predicted and 5 gold; 4 of 6 words
    assert made["precision"] == pytest.approx(50)
    assert made["recall"] == pytest.approx(60)
    assert made["f1"] == pytest.approx(2 * 0.5 * 0.6 / 1.1 * 100)
    assert made["token_accuracy"] == pytest.approx(400 / 6)


def test_an_empty_sentence_is_a_sentence(score):
    assert score("udpos", "X\n\n\nX\n", "X\n\n\nX\n")["f1"] == 100.0
    with pytest.raises(DataError, match="3 sentences for 2"):
        score("udpos", "X\n\n\nX\n", "X\n\nX\n")


def test_inter_needs_no_opening_and_sym_is_alone(score):
    # I in INTJ acts as an inside prefix, yet opens a chunk; SYM SYM are two chunks
    made = score("udpos", "INTJ\nINTJ\nSYM\nSYM\n", "INTJ\nINTJ\nSYM\nX\n")
    # predicted INTJ 0-1, SYM 2, SYM 3; gold INTJ 0-1, SYM 2, X 3: 2 of 3 and 3
    assert made["f1"] == pytest.approx(200 / 3)


def test_squad_rules_are_english_for_every_language(score):
    golds = {"a": ["The  Cat!"], "b": ["la casa"], "c": ["ศาลา"], "d": ["x"]}
    predicted = {"a": "cat", "b": "casa", "c": "ศาลา นี้", "zz": "ignored"}
    made = score("xquad", json.dumps(predicted), squad(golds), "th", "json")
    # a: EM 1 F1 1; b: one of two words: P 1 R 1/2 F1 2/3; c: P 1/2 R 1: 2/3; d unanswered: 0
    assert made["exact_match"] == pytest.approx(25)
    assert made["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 4 * 100)


def test_both_empty_is_an_exact_match_without_f1(score):
    made = score("tydiqa", '{"a": "the"}', squad({"a": ["a."]}), "en", "json")
    assert (made["exact_match"], made["f1"]) == (100.0, 0.0)


def test_questions_without_an_answer_belong_to_squad_2(score):
    golds = squad({"a": [], "b": ["the red house"], "c": []})
    said = json.dumps({"a": "", "b": "red", "c": "red"})
    # a: right; b: P 1, R 1/2 of "red house", F1 2/3; c: an answer where there is none.
    made = score("squad2", said, golds, suffix="json")
    assert made == {
        "exact_match": pytest.approx(100 / 3),
        "f1": pytest.approx(100 * (1 + 2 / 3) / 3),
        "answered_f1": pytest.approx(200 / 3),
        "unanswered": pytest.approx(50.0),
    }
    with pytest.raises(DataError, match="question 'a' has no gold answer"):
        score("squad1", said, golds, suffix="json")


def test_a_stripped_file_is_no_label_file(score):
    with pytest.raises(DataError, match="no question has a gold answer"):
        score("xquad", '{"a": "x"}', squad({str(n): [""] for n in range(20)}), suffix="json")
    assert score("xquad", '{"a": ""}', squad({"a": [""]}), suffix="json")["exact_match"] == 100.0


def test_the_best_of_several_golds_counts_for_each_measure(score):
    golds = {"a": ["red house of brick", "house"]}
    made = score("xquad", '{"a": "red house"}', squad(golds), "en", "json")
    # first gold: P 1 R 1/2 F1 2/3; second: P 1/2 R 1 F1 2/3
    assert (made["exact_match"], made["f1"]) == (0.0, pytest.approx(200 / 3))


@pytest.mark.parametrize(
    ("language", "gold", "predicted", "em", "f1"),
    [
        # Spanish articles go; in English rules they would stay
        ("es", "la casa", "Casa", 1, 1),
        ("de", "dem Haus", "haus", 1, 1),
        ("vi", "của nhà", "nhà", 1, 1),
        # alef-lam becomes a blank anywhere: one word is two tokens, كتب alone is one of them
        ("ar", "بالكتب", "كتب", 0, 2 / 3),
        ("ar", "الكتاب", "كتاب", 1, 1),
        # danda is punctuation; there are no articles
        ("hi", "राम।", "राम", 1, 1),
        # each Han character is a token, the Latin word is one: 京 of 北京 IBM: P 1 R 1/3
        ("zh", "北京 IBM", "京", 0, 1 / 2),
        # kana are not in the range: they stay together
        ("zh", "カナ", "カ", 0, 0),
        ("en", "a $5 bill", "5 bill", 1, 1),
    ],
)
def test_mlqa_rules_by_language(score, language, gold, predicted, em, f1):
    made = score("mlqa", json.dumps({"q": predicted}), squad({"q": [gold]}), language, "json")
    assert made["exact_match"] == 100 * em
    assert made["f1"] == pytest.approx(100 * f1)


def test_mlqa_refuses_other_languages(score):
    with pytest.raises(UsageError, match="no rules for 'fr'"):
        score("mlqa", '{"q": "a"}', squad({"q": ["a"]}), "fr", "json")


def test_mined_pairs(score):
    gold = "de-1\ten-1\nde-2\ten-2\nde-3\ten-3\n"
    # one right (twice), one wrong, one with a third column
    mined = "de-1\ten-1\nde-1\ten-1\nde-2\ten-9\nde-3\ten-3\tx\n"
    made = score("bucc2018", mined, gold)
    # 1 right of 3 predicted and 3 gold
    assert made == pytest.approx({"precision": 100 / 3, "recall": 100 / 3, "f1": 100 / 3})
    assert score("bucc2018", "", gold) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_choices_are_read_from_rows(score):
    labels = '{"idx": 1, "label": 1}\n{"idx": 2, "label": 0}\n'
    assert score("xcopa", '{"label": 1}\n{"label": "1"}\n', labels, "et", "jsonl") == {
        "accuracy": 50.0
    }


def test_numbers_of_choices_may_be_written_with_a_point(score):
    labels = '{"idx": 1, "label": 1}\n{"idx": 2, "label": 0}\n'
    for said in ('{"label": 1.0}\n{"label": 0.0}\n', '{"label": "1"}\n{"label": -0.0}\n'):
        assert score("xcopa", said, labels, "et", "jsonl") == {"accuracy": 100.0}


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1)])
def test_rows_that_name_other_rows_are_refused(score, numbers):
    labels = '{"idx": 1, "label": 1}\n{"idx": 2, "label": 0}\n'
    said = "".join(f'{{"idx": {number}, "label": 1}}\n' for number in numbers)
    with pytest.raises(DataError, match=r"the row is about idx \d, the label's about") as caught:
        score("xcopa", said, labels, "et", "jsonl")
    assert caught.value.where.endswith(f"p.jsonl:{1 if numbers[0] == 2 else 2}")
    numbered_otherwise = '{"id": "0", "label": 1}\n{"id": "1", "label": 0}\n'
    assert score("xcopa", numbered_otherwise, labels, "et", "jsonl") == {"accuracy": 100.0}


def test_rankings(score):
    gold = json.dumps({"q1": ["a"], "q2": ["b"], "q3": ["c"]})
    ranked = json.dumps({"q1": ["a", "x"], "q2": ["x", "y", "z", "b"], "extra": ["a"]})
    # 1, 1/4, and 0 for the query that is missing
    assert score("mewslix", ranked, gold, "de", "json") == {"map": pytest.approx(125 / 3)}


def test_average_precision_with_several_golds():
    compute = METRICS.get("ap_at_k").compute
    # hits at 1 and 3: (1 + 2/3) / 2
    assert compute([["a", "x", "b"]], [["a", "b"]])["map"] == pytest.approx(500 / 6)
    # 25 golds, the first 20 all right: 20 / min(25, 20)
    ids = [str(number) for number in range(25)]
    assert compute([ids], [ids])["map"] == 100.0
    # what is ranked after the k-th does not count
    assert compute([["x", "a"]], [["a"]], k=1)["map"] == 0.0


@pytest.mark.parametrize(
    ("task", "predictions", "labels", "suffix", "words"),
    [
        ("xnli", "neutral\n", "neutral\nneutral\n", "tsv", "1 lines for 2"),
        ("xnli", b"\xef\xbb\xbfneutral\n", "neutral\n", "tsv", "byte order mark"),
        ("xnli", b"neutral\n\xff\xfe\n", "neutral\nneutral\n", "tsv", "not UTF-8"),
        ("xnli", "a\r\nb\n", "a\nb\n", "tsv", "line ends are mixed"),
        ("panx", "O\nO\n", "O\n", "tsv", "2 tags for 1 words"),
        ("xquad", "<!DOCTYPE html><html></html>", "{}", "json", "web page"),
        ("xquad", '{"q": "a"', "{}", "json", "not valid JSON"),
        ("xquad", '{"q": "a", "q": "b"}', squad({"q": ["a"]}), "json", "'q' repeats"),
        ("xquad", '{"q": 3}', squad({"q": ["a"]}), "json", "is no text"),
        ("xquad", '{"q": "a"}', squad({"q": []}), "json", "no gold answer"),
        ("xquad", '{"q": "a"}', '{"data": [{}]}', "json", "not a SQuAD file"),
        ("xquad", "[]", squad({"q": ["a"]}), "json", "not a JSON object"),
        ("mewslix", '{"q": "a"}', '{"q": ["a"]}', "json", "is no list"),
        ("mewslix", '{"q": [["a"]]}', '{"q": ["a"]}', "json", "an id of 'q' is [\"a\"]"),
        ("mewslix", '{"q": ["a"]}', '{"q": [null]}', "json", "an id of 'q' is null"),
        ("xcopa", '{"x": 1}\n', '{"label": 1}\n', "jsonl", "no 'label'"),
        ("xcopa", '{"label": null}\n', '{"label": 1}\n', "jsonl", "the label is null"),
        ("xcopa", '{"label": 1}\n', '{"label": null}\n', "jsonl", "the label is null"),
        ("xcopa", '{"label": true}\n', '{"label": 1}\n', "jsonl", "the label is true"),
        ("xquad", '{"q": "None"}', squad({"q": [None]}), "json", "not a SQuAD file"),
        ("xquad", '{"None": "a"}', squad({None: ["a"]}), "json", "not a SQuAD file"),
    ],
)
def test_broken_files_are_named(score, tmp_path, task, predictions, labels, suffix, words):
    with pytest.raises(DataError) as caught:
        score(task, predictions, labels, suffix=suffix)
    assert words in str(caught.value)
    assert str(tmp_path) in caught.value.where


def test_mlqa_needs_a_language(tmp_path):
    predictions, labels = tmp_path / "p.json", tmp_path / "l.json"
    predictions.write_text('{"q": "der Hund"}')
    labels.write_text(squad({"q": ["Hund"]}))
    with pytest.raises(UsageError, match="language"):
        score_file("mlqa", predictions, labels)
    assert score_file("mlqa", predictions, labels, "de")["mean"] == 100.0
    # xquad keeps English rules in every language: "der" is a word
    assert score_file("xquad", predictions, labels)["exact_match"] == 0.0


def test_what_is_not_there_is_named(tmp_path):
    labels = tmp_path / "l.tsv"
    labels.write_text("a\n")
    with pytest.raises(NotFoundError, match="no such data file"):
        score_file("xnli", tmp_path / "p.tsv", labels)
    with pytest.raises(NotFoundError, match="no task named 'xnly'"):
        score_file("xnly", labels, labels)
    with pytest.raises(NotFoundError, match="no layout"):
        score_file("mlm", labels, labels)
