from __future__ import annotations

import socket
from pathlib import Path

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


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_a_module(name):
    from xstilts.tasks.metrics._evaluate import module_class, path_of

    assert f'module_class("{name}")' in Path(path_of(name)).read_text(encoding="utf-8")
    assert module_class(name)()._info().description


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
