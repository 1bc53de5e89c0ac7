from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from support.tokenizers import tiny_tokenizer
from torch import nn
from transformers import XLMRobertaConfig
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaClassificationHead

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import collate
from xstilts.errors import DataError, UsageError
from xstilts.tasks.formats import check_targets, classification, retrieval, with_labels

WORDS = [
    "the",
    "river",
    "runs",
    "through",
    "an",
    "old",
    "town",
    "while",
    "der",
    "Fluss",
    "fließt",
    "नदी",
    "शहर",
    "河流穿过老城",
]
LABELS = ["entailment", "neutral", "contradiction"]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer([" ".join(WORDS)] * 9, 120)


def task(**more) -> TaskSpec:
    values = {"labels": LABELS, "options": {}, **more}
    return TaskSpec(
        name="nli", format="classification", languages=["en"], metric="x", sources=[], **values
    )


def pairs(count: int, longest: int = 40) -> list[Example]:
    draw = random.Random(4)
    made = []
    for number in range(count):
        a, b = (" ".join(draw.choices(WORDS, k=draw.randint(0, longest))) for _ in range(2))
        fields = {"text": a, "text_pair": b}
        made.append(Example(str(number), "en", fields, draw.choice(LABELS), f"t.tsv:{number + 1}"))
    return made


@pytest.mark.long
@pytest.mark.parametrize("length", [16, 32, 60, 200])
def test_pairs_are_cut_as_the_tokenizers_library_cuts_them(tokenizer, length):
    rows = pairs(300)
    features = classification.encode(rows, tokenizer, task(), length)
    expected = tokenizer(
        [row.fields["text"] for row in rows],
        [row.fields["text_pair"] for row in rows],
        truncation="longest_first",
        max_length=length,
    )["input_ids"]
    assert [features.input_ids[i].tolist() for i in range(300)] == expected
    assert features.scalars["label"].tolist() == [LABELS.index(row.target) for row in rows]


def test_longest_first_by_hand():
    first, second = np.array([3, 9, 2, 5, 6, 8]), np.array([4, 2, 9, 5, 9, 8])
    left, right = classification.longest_first(first, second, 9)
    # 3+4 fits; 9+2: 7+2; 2+9: 2+7; 5+5: tie, the second keeps the odd one; 6+9, 8+8: 4+5
    assert left.tolist() == [3, 7, 2, 4, 4, 4]
    assert right.tolist() == [4, 2, 7, 5, 5, 5]


@pytest.mark.parametrize("form", [classification, retrieval])
def test_single_texts_are_cut_at_the_end(tokenizer, form):
    rows = [Example(r.id, "en", {"text": r.fields["text"]}, r.target) for r in pairs(60)]
    features = form.encode(rows, tokenizer, task(), 12)
    texts = [row.fields["text"] for row in rows]
    expected = tokenizer(texts, truncation=True, max_length=12)["input_ids"]
    assert [features.input_ids[i].tolist() for i in range(60)] == expected


def test_a_row_without_its_pair_is_refused(tokenizer):
    rows = pairs(3)
    rows[1] = Example("1", "en", {"text": "x"}, "neutral", "t.tsv:2")
    with pytest.raises(DataError, match="no 'text_pair'") as error:
        classification.encode(rows, tokenizer, task(), 30)
    assert error.value.where == "t.tsv:2"


def test_an_unknown_label_names_the_row_and_the_nearest_label(tokenizer):
    rows = [Example("7", "en", {"text": "x"}, "contradictory", "t.tsv:8")]
    with pytest.raises(DataError, match="'contradictory' of row '7'") as error:
        classification.encode(rows, tokenizer, task(), 30)
    assert error.value.where == "t.tsv:8"
    assert "'contradiction'" in error.value.hint


def test_a_task_without_labels_says_where_to_get_them(tokenizer):
    with pytest.raises(UsageError, match="no labels yet"):
        classification.encode(pairs(2), tokenizer, task(labels=[]), 30)


def test_labels_can_be_read_from_the_rows():
    rows = [
        Example("0", "en", {}, ("VERB", "O")),
        Example("1", "en", {}, ("ADJ",)),
        Example("2", "en", {}),
    ]
    assert with_labels(task(labels=[]), rows).labels == ["O", "ADJ", "VERB"]
    assert with_labels(task(), rows).labels == LABELS
    assert with_labels(task(labels=[]), [Example("0", "en", {}, "b")]).labels == ["b"]
    with pytest.raises(DataError, match="states no labels"):
        with_labels(task(labels=[]), [Example("2", "en", {})])


def test_training_rows_need_targets():
    check_targets([Example("0", "en", {}, ())])
    with pytest.raises(DataError, match="row '1' has no target") as error:
        check_targets([Example("0", "en", {}, "b"), Example("1", "en", {}, None, "f:2")])
    assert error.value.where == "f:2"


def test_the_head_is_transformers_roberta_head():
    config = XLMRobertaConfig(hidden_size=8, num_labels=3)
    theirs = XLMRobertaClassificationHead(config).eval()
    head = classification.make_head(8, task(), torch.Generator().manual_seed(1)).eval()
    theirs.load_state_dict(head.state_dict())
    hidden = torch.randn(4, 6, 8)
    assert torch.equal(head(hidden, None), theirs(hidden))


def test_new_weights_are_small_and_normal():
    head = classification.make_head(400, task(), torch.Generator().manual_seed(1))
    weight = head.dense.weight
    assert abs(float(weight.detach().std()) - 0.02) < 0.0005
    assert head.dense.bias.abs().sum() == 0


def test_head_dropout_is_an_option():
    head = classification.make_head(8, task(options={"head_dropout": "0.3"}), torch.Generator())
    assert [m.p for m in head.modules() if isinstance(m, nn.Dropout)] == [0.3]


def test_the_loss_is_the_negative_log_share(tokenizer):
    rows = [Example(str(i), "en", {"text": "x"}, label) for i, label in enumerate(LABELS[:2])]
    features = classification.encode(rows, tokenizer, task(), 9)
    batch = collate(features, np.arange(2), 1)
    logits = torch.tensor([[math.log(2.0), 0.0, 0.0], [0.0, 0.0, math.log(6.0)]])
    # shares 2/4 of the first label, 1/8 of the second
    expected = torch.tensor([math.log(2), math.log(8)])
    torch.testing.assert_close(classification.loss(logits, batch), expected)


def test_the_highest_label_is_predicted():
    logits = [np.array([0.1, 3, 2]), np.array([-1, -2, -0.5]), np.array([0.0, 0, 0])]
    assert classification.decode(logits, None, [], task()) == [LABELS[1], LABELS[2], LABELS[0]]
