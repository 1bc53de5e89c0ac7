from __future__ import annotations

import pytest
from support.models import tiny_backbone
from support.tokenizers import tiny_tokenizer

from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.tasks.encoding import remarks
from xstilts.tasks.formats import FORMATS

TEXT = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer([TEXT] * 20, 300)


def cut(tokenizer, form, rows, max_length, **options):
    task = TaskSpec(
        name="t",
        format=form,
        languages=["en"],
        labels=["no"],
        metric="x",
        sources=[],
        options=options,
    )
    examples = [Example(str(n), "en", fields, gold, "f:1") for n, (fields, gold) in enumerate(rows)]
    return FORMATS.get(form).encode(examples, tokenizer, task, max_length).cut


def length(tokenizer, text):
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_single_text_is_cut_when_it_and_two_special_tokens_do_not_fit(tokenizer):
    fits = length(tokenizer, TEXT) + 2
    for form in ("classification", "retrieval"):
        rows = [({"text": TEXT}, "no" if form == "classification" else None)] * 2
        rows.append(({"text": "one"}, rows[0][1]))
        assert [cut(tokenizer, form, rows, fits - n) for n in (0, 1)] == [0, 2]


def test_a_pair_counts_once_whichever_side_is_cut(tokenizer):
    fits = length(tokenizer, TEXT) + length(tokenizer, "one two") + 4
    pair = {"text": TEXT, "text_pair": "one two"}
    rows = [(pair, "no"), ({"text": "one", "text_pair": "two"}, "no")]
    assert [cut(tokenizer, "classification", rows, fits - n) for n in (0, 1)] == [0, 1]


def test_an_example_of_several_choices_counts_once(tokenizer):
    fits = length(tokenizer, TEXT) + length(tokenizer, "one two") + 4
    fields = {"context": TEXT, "question": "", "choices": ("one two", "one two")}
    rows = [(fields, "0")]
    assert [cut(tokenizer, "multiple_choice", rows, fits - n) for n in (0, 1)] == [0, 1]


def test_windows_of_a_context_lose_nothing_and_a_long_question_does(tokenizer):
    fields = {"context": TEXT, "question": "one two three"}
    rows = [(fields, (Answer("one", 0),))]
    asked = length(tokenizer, "one two three")
    windows = {"doc_stride": 4}
    assert cut(tokenizer, "extractive_qa", rows, asked + 10, **windows) == 0
    short = {**windows, "question_length": asked - 1}
    assert cut(tokenizer, "extractive_qa", rows, asked + 10, **short) == 1


def test_a_long_sentence_is_split_and_a_word_that_fits_in_no_row_is_lost(tokenizer):
    word = "onetwothreefourfivesixseven"
    long = length(tokenizer, word)
    rows = [({"words": ("one",) * 40}, ("no",) * 40), ({"words": (word, "one")}, ("no", "no"))]
    assert cut(tokenizer, "tagging", rows, long + 3) == 0
    assert cut(tokenizer, "tagging", rows, long + 2) == 1


def test_a_length_that_the_backbone_cannot_read_is_named():
    backbone, task = tiny_backbone(), load_task("mnli")
    assert backbone.max_length == 64
    said = "mnli: max_length is 1,024, and pico-xlm-roberta reads at most 64 sub-words"
    assert remarks(task, backbone, ["en"], 1024) == [said]
    assert remarks(task, backbone, ["en"], 64) == []
    assert bool(remarks(task, backbone, ["en"])) == (task.max_length > 64)
