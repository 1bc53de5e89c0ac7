from __future__ import annotations

import inspect
import socket

import pytest

from xstilts.tasks.metrics import METRICS


@pytest.fixture(autouse=True, scope="module")
def _no_network():
    def refuse(*_arguments, **_options):
        raise AssertionError("a socket was opened")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


def load(name):
    import evaluate

    from xstilts.tasks.metrics._evaluate import path_of

    return evaluate.load(path_of(name))


VALUES = {"texts": ["a", "b"], "lists": [["a"], ["b"]], "pairs": ["de-1\ten-1", "de-2\ten-2"]}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_a_module_that_computes_what_the_metric_does(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path))
    metric = METRICS.get(name)
    about = {"language": "en", "labels": ["a", "b"]}
    if metric.TAKES == "answers":
        given = {"1": "a cat", "2": "dog"}, {"1": ["cat"], "2": ["a dog ran"]}
        rows = (
            [{"id": key, "prediction_text": text} for key, text in given[0].items()],
            [
                {"id": key, "answers": {"text": texts, "answer_start": [0]}}
                for key, texts in given[1].items()
            ],
        )
    elif metric.TAKES == "numbers":
        given = rows = ([[1.5, 2.0], [3.0, 4.0]], [[0.0], [0.0]])
    else:
        rows = VALUES[metric.TAKES], VALUES[metric.TAKES][::-1]
        cut = (lambda pair: tuple(pair.split("\t"))) if metric.TAKES == "pairs" else (lambda x: x)
        given = tuple([cut(value) for value in side] for side in rows)
    made = load(name)
    assert made.compute(predictions=rows[0], references=rows[1], **about) == metric.compute(
        *given, **about
    )
    assert made.description == inspect.getdoc(metric)


def test_lines():
    made = load("accuracy").compute(predictions=["a", "b"], references=["a", "c"])
    assert made == {"accuracy": 50.0}


def test_tags():
    made = load("pos_f1").compute(predictions=[["DET", "NOUN"]], references=[["DET", "VERB"]])
    assert (made["f1"], made["token_accuracy"]) == (50.0, 50.0)


def test_answers_by_language():
    gold = [{"id": "1", "answers": {"text": ["dem Haus"], "answer_start": [0]}}]
    made = load("mlqa").compute(
        predictions=[{"id": "1", "prediction_text": "Haus"}], references=gold, language="de"
    )
    assert made["exact_match"] == 100.0


def test_pairs():
    made = load("bucc").compute(predictions=["de-1\ten-1"], references=["de-1\ten-1"])
    assert made["f1"] == 100.0
