from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.tokenizers import tiny_tokenizer

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import collate
from xstilts.errors import DataError
from xstilts.tasks.formats import multiple_choice

TEXT = "one two three four five six seven eight nine ten why so then and nothing else here"


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer([TEXT] * 20, 300)


def task(**options) -> TaskSpec:
    return TaskSpec(
        name="choice",
        format="multiple_choice",
        languages=["en"],
        metric="x",
        sources=[],
        options=options,
    )


def example(context, question, choices, target="0") -> Example:
    fields = {"context": context, "question": question, "choices": choices}
    return Example("q", "en", fields, target, "f.jsonl:3")


def text_of(features, tokenizer, row) -> list[str]:
    return tokenizer.convert_ids_to_tokens(features.input_ids[row].tolist())


def test_a_row_is_prompt_and_choice_as_a_pair(tokenizer):
    rows = [example("one two", "why", ("so", "and then")), example("three", "", ("four", "five"))]
    features = multiple_choice.encode(rows, tokenizer, task(), 30)
    expected = tokenizer(
        ["one two why", "one two why", "three", "three"], ["so", "and then", "four", "five"]
    )["input_ids"]
    assert [features.input_ids[i].tolist() for i in range(4)] == expected
    assert features.example.tolist() == [0, 0, 1, 1]


def test_the_context_is_cut_at_its_beginning(tokenizer):
    rows = [example("one two three four five", "why so", ("nothing", "nothing else here"))]
    prompt = tokenizer("one two three four five why so", add_special_tokens=False)["input_ids"]
    choices = tokenizer(["nothing", "nothing else here"], add_special_tokens=False)["input_ids"]
    length = 4 + len(prompt) + len(choices[0]) - 2
    features = multiple_choice.encode(rows, tokenizer, task(), length)
    for row in (0, 1):
        ids = features.input_ids[row].tolist()
        left = length - 4 - len(choices[row])
        assert ids == [0, *prompt[-left:], 2, 2, *choices[row], 2]
        assert len(ids) == length


def test_a_choice_that_fills_the_row_leaves_no_prompt(tokenizer):
    features = multiple_choice.encode([example("one", "", (TEXT, "two"))], tokenizer, task(), 12)
    choice = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert features.input_ids[0].tolist() == [0, 2, 2, *choice[:8], 2]


def test_choices_may_differ_in_number(tokenizer):
    rows = [example("one", "", ("a", "b", "c"), "2"), example("two", "", ("a", "b"), "1")]
    features = multiple_choice.encode(rows, tokenizer, task(), 30)
    assert features.scalars["label"].tolist() == [2, 2, 2, 1, 1]
    batch = collate(features, np.arange(5), 1)
    logits = torch.tensor([0.0, 0.0, math.log(2), math.log(3), 0.0])
    # shares: 2 of (1 + 1 + 2); 1 of (3 + 1)
    expected = torch.tensor([math.log(2), math.log(4)])
    torch.testing.assert_close(multiple_choice.loss(logits, batch), expected)
    arrays = list(logits.numpy())
    assert multiple_choice.decode(arrays, features, rows, task()) == ["2", "0"]


def test_the_first_choice_wins_a_tie(tokenizer):
    rows = [example("one", "", ("a", "b"))]
    features = multiple_choice.encode(rows, tokenizer, task(), 30)
    scores = [np.float32(0.5), np.float32(0.5)]
    assert multiple_choice.decode(scores, features, rows, task()) == ["0"]


@pytest.mark.parametrize("target", ["2", "-1", "B", 1])
def test_a_target_that_is_no_choice_is_refused(tokenizer, target):
    with pytest.raises(DataError, match="not the index of a choice") as error:
        multiple_choice.encode([example("x", "", ("a", "b"), target)], tokenizer, task(), 30)
    assert error.value.where == "f.jsonl:3"


def test_one_choice_is_no_choice(tokenizer):
    with pytest.raises(DataError, match="1 choice"):
        multiple_choice.encode([example("x", "", ("a",))], tokenizer, task(), 30)


def test_choices_are_a_list(tokenizer):
    with pytest.raises(DataError, match="'choices' of row 'q' is a str"):
        multiple_choice.encode([example("x", "", "ab")], tokenizer, task(), 30)


def test_the_head_scores_each_row():
    head = multiple_choice.make_head(8, task(), torch.Generator().manual_seed(0)).eval()
    hidden = torch.randn(5, 3, 8)
    scores = head(hidden, None)
    assert scores.shape == (5,)
    by_hand = torch.tanh(hidden[:, 0] @ head.dense.weight.T) @ head.out_proj.weight[0]
    torch.testing.assert_close(scores, by_hand)
