"""Answers rebuilt from whitespace words, against hand cases and transformers' own code."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest
from support.tokenizers import tiny_tokenizer

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.tasks.formats import extractive_qa as qa
from xstilts.tasks.formats._whitespace import basic_split, legacy_answer, realign


@pytest.mark.parametrize(
    ("context", "predicted", "answer"),
    [
        # Punctuation is set apart, so the possessive is dropped.
        ("met Steve Smith's dog", "Steve Smith", "Steve Smith"),
        # Half a word is found inside the word.
        ("the unbelievable story", "believ", "believ"),
        # Ideographs are set apart in the chunk but not in the prediction: the whole chunk.
        ("在 河流穿过老城。 见", "老城", "河流穿过老城。"),
        # One ideograph is found.
        ("在 河流穿过老城。 见", "河", "河"),
        # An ideographic space separates no words, a narrow no-break space does.
        ("穿过\u3000老城 a", "老城", "穿过\u3000老城"),
        ("x穿过\u202f老城 a", "老城", "老城"),
        # Thai has no ideographs: the part is found.
        ("ใน กำลังไหล ผ่าน", "ลัง", "ลัง"),
        # Normalisation changed the prediction: the whole chunk.
        ("about ½cup of", "½", "½cup"),
        ("plain text", "plain", "plain"),
    ],
)
def test_by_hand(context, predicted, answer):
    start = context.index(predicted)
    assert legacy_answer(context, start, start + len(predicted)) == answer


def test_basic_split_by_hand():
    assert basic_split("Don't stop—ever") == "Don ' t stop — ever"
    assert basic_split("a\u3000河b\u00a0$c\ufffd\u200b") == "a 河 b $ c"


def test_realign_gives_up_on_an_empty_prediction():
    assert realign("", "a b") == "a b"


def test_against_transformers():
    metrics = pytest.importorskip("transformers.data.metrics.squad_metrics")
    draw = random.Random(3)
    letters = "ab Cé'.-()«» 河流 ก้ й\u00a0½\t,"
    checked = 0
    for _ in range(3000):
        chunk = " ".join("".join(draw.choices(letters, k=draw.randint(1, 25))).split())
        chunk = unicodedata.normalize("NFC", chunk)
        if not chunk:
            continue
        start = draw.randrange(len(chunk))
        part = chunk[start : start + draw.randint(1, 12)]
        predicted = " ".join(unicodedata.normalize("NFKC", part).split())
        if not predicted:
            continue
        assert realign(predicted, chunk) == metrics.get_final_text(predicted, chunk, False)
        checked += 1
    assert checked > 2000


def test_the_option_of_the_format():
    context = "河流穿过老城。 见"
    tokenizer = tiny_tokenizer([context] * 9, characters=True)
    rows = [Example("q", "zh", {"question": "a", "context": context}, (Answer("老城", 4),))]
    answers = {}
    for how in ("offsets", "whitespace"):
        task = TaskSpec(
            name="qa",
            format="extractive_qa",
            languages=["zh"],
            metric="x",
            sources=[],
            options={"decode": how},
        )
        features = qa.encode(rows, tokenizer, task, 40)
        scores = np.zeros((int(features.lengths[0]), 2), np.float32)
        scores[features.scalars["start"][0], 0] = scores[features.scalars["end"][0], 1] = 9
        answers[how] = qa.decode([scores], features, rows, task)[0]
    assert answers == {"offsets": "老城", "whitespace": "河流穿过老城。"}
