from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from support.files import SHARED
from support.tokenizers import tiny_tokenizer

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import collate
from xstilts.errors import DataError
from xstilts.tasks.formats import tagging, with_labels

FILES = sorted(
    path
    for pattern in (
        "udpos_xtreme/test-*.tsv",
        "ud/*/*.conllu",
        "uner/*/*.iob2",
        "wikigold/*.conllu",
        "masakhaner/*/*.txt",
    )
    for path in SHARED.glob(pattern)
)
LABELS = ["A", "B", "C"]
WORDS = [
    "the",
    "river",
    "runs",
    "through",
    "an",
    "old",
    "town",
    "der",
    "Fluss",
    "fließt",
    "unglaublich",
    "langsam",
]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer([" ".join(WORDS)] * 9, 60)


def task(**more) -> TaskSpec:
    values = {"labels": LABELS, **more}
    return TaskSpec(name="t", format="tagging", languages=["en"], metric="x", sources=[], **values)


def example(words, target=None, name="s") -> Example:
    return Example(name, "en", {"words": tuple(words)}, target, "f.tsv:9")


def slow_rows(words, labels, tokenizer, length):
    """XTREME's own way, word by word: (ids, labels) of each row."""
    budget, unknown = length - 3, tokenizer.unk_token_id
    rows, ids, tags = [], [], []
    for word, label in zip(words, labels, strict=True):
        pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
        if not pieces or len(pieces) > budget:
            pieces = [unknown]
        if len(ids) + len(pieces) > budget:
            rows.append((ids, tags))
            ids, tags = [], []
        ids = ids + pieces
        tags = [*tags, label, *[-100] * (len(pieces) - 1)]
    rows.append((ids, tags))
    return [([0, *ids, 2], [-100, *tags, -100]) for ids, tags in rows]


def gold_logits(features, labels, noise=0.0):
    draw = np.random.default_rng(0)
    arrays = []
    for row in range(len(features)):
        gold = features.tokens["labels"][row]
        scores = draw.normal(0, 1, (len(gold), labels)).astype(np.float32) * noise
        here = gold >= 0
        scores[np.flatnonzero(here), gold[here]] += 20
        scores[~here] = draw.normal(0, 30, (int((~here).sum()), labels))
        arrays.append(scores)
    return arrays


@pytest.mark.parametrize("length", [8, 20, 64])
def test_rows_are_those_of_the_slow_way(tokenizer, length):
    draw = random.Random(2)
    odd = ["\u200b", "", "e" * 70, "½", "\u00ad", "</s>"]
    rows, expected = [], []
    for number in range(80):
        words = draw.choices([*WORDS, *odd[:5]], k=draw.randint(0, 30))
        labels = draw.choices(LABELS, k=len(words))
        rows.append(example(words, tuple(labels), str(number)))
        numbers = [LABELS.index(name) for name in labels]
        expected += slow_rows(words, numbers, tokenizer, length)
    features = tagging.encode(rows, tokenizer, task(), length)
    assert len(features) == len(expected)
    for row, (ids, labels) in enumerate(expected):
        assert features.input_ids[row].tolist() == ids
        assert features.tokens["labels"][row].tolist() == labels
    assert tagging.decode(gold_logits(features, 3), features, rows, task()) == [
        list(row.target) for row in rows
    ]


def test_a_sentence_of_2000_words_loses_none(tokenizer):
    draw = random.Random(5)
    words = draw.choices([*WORDS, "\u200b", "e" * 300], k=2000)
    gold = draw.choices(LABELS, k=2000)
    rows = [example(["town"], ("B",)), example(words, tuple(gold)), example([], ())]
    features = tagging.encode(rows, tokenizer, task(), 128)
    # 128 less three, as XTREME does for XLM-R, and the two that are really there
    assert features.lengths.max() <= 127
    assert features.example.tolist() == [0, *[1] * (len(features) - 2), 2]
    assert len(features) > 25
    word = np.concatenate([features.tokens["word"][r] for r in range(1, len(features) - 1)])
    assert word[word >= 0].tolist() == list(range(2000))
    tags = tagging.decode(gold_logits(features, 3), features, rows, task())
    assert tags == [["B"], gold, []]


def test_words_without_subwords_become_one_unknown(tokenizer):
    rows = [example(["the", "\u200b", "", "town"], ("A", "B", "C", "A"))]
    features = tagging.encode(rows, tokenizer, task(), 30)
    ids = features.input_ids[0].tolist()
    assert ids.count(tokenizer.unk_token_id) == 2
    labels = features.tokens["labels"][0]
    assert labels[labels >= 0].tolist() == [0, 1, 2, 0]


def test_a_word_longer_than_a_row_becomes_one_unknown(tokenizer):
    fits, over = ("e" * n for n in (9, 10))
    pieces = tokenizer([fits, over], add_special_tokens=False)["input_ids"]
    features = tagging.encode([example([fits, over])], tokenizer, task(), 3 + len(pieces[0]))
    assert features.input_ids[0].tolist() == [0, *pieces[0], 2]
    assert features.input_ids[1].tolist() == [0, 3, 2]


def test_the_loss_is_the_mean_over_labelled_words(tokenizer):
    rows = [example(["the", "town"], ("A", "B")), example(["langsam"], ("C",)), example([], ())]
    features = tagging.encode(rows, tokenizer, task(), 30)
    batch = collate(features, np.arange(3), 1)
    logits = torch.zeros(3, batch.input_ids.shape[1], 3)
    first = torch.nonzero(batch.tokens["labels"][0] == 0)[0, 0]
    logits[0, first, 0] = math.log(2.0)
    # row 0: shares 2/4 and 1/3, mean of log 2 and log 3; row 1: log 3; row 2: nothing to learn
    expected = torch.tensor([(math.log(2) + math.log(3)) / 2, math.log(3), 0.0])
    torch.testing.assert_close(tagging.loss(logits, batch), expected)


def test_rows_of_one_sentence_share_one_loss(tokenizer):
    words = WORDS * 4
    gold = tuple(LABELS[i % 3] for i in range(len(words)))
    whole = tagging.encode([example(words, gold)], tokenizer, task(), 400)
    split = tagging.encode([example(words, gold)], tokenizer, task(), 40)
    assert (len(whole), len(split) > 3) == (1, True)
    losses = []
    for features in (whole, split):
        batch = collate(features, np.arange(len(features)), 1)
        word = batch.tokens["word"]
        logits = torch.stack([word % 5, word % 7, word % 2], dim=-1).float()
        losses.append(tagging.loss(logits, batch))
    torch.testing.assert_close(losses[0], losses[1])


def test_as_many_labels_as_words(tokenizer):
    with pytest.raises(DataError, match="2 words but 1 labels") as error:
        tagging.encode([example(["a", "b"], ("A",))], tokenizer, task(), 30)
    assert error.value.where == "f.tsv:9"


def test_an_unknown_tag_is_refused(tokenizer):
    with pytest.raises(DataError, match="'D' of row 's'"):
        tagging.encode([example(["a", "b"], ("A", "D"))], tokenizer, task(), 30)


# --------------------------------------------------------------------------------- real files


def read(path: Path) -> list[Example]:
    """Sentences of a CoNLL-like file: (index,) token, tag by columns."""
    sentences, words, tags = [], [], []
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        if not line.strip():
            if words:
                name = str(len(sentences))
                sentences.append(Example(name, "xx", {"words": tuple(words)}, tuple(tags)))
            words, tags = [], []
            continue
        if line.startswith("# "):
            continue
        columns = line.split(" ") if path.suffix == ".txt" else line.split("\t")
        if path.parts[-3] == "ud":
            if not columns[0].isdigit():
                continue
            columns = [columns[1], columns[3]]
        elif path.suffix in (".conllu", ".iob2"):
            columns = columns[1:3]
        words.append(columns[0])
        tags.append(columns[1])
    return sentences


@pytest.fixture(scope="module")
def real_tokenizer():
    lines = []
    for path in FILES:
        rows = read(path)
        lines += [" ".join(row.fields["words"]) for row in rows[:: max(1, len(rows) // 60)]]
    return tiny_tokenizer(lines, 4000)


@pytest.mark.long
@pytest.mark.skipif(not FILES, reason="no tagged files: set XSTILTS_SHARED_DATA")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_word_of_a_real_file_gets_its_tag_back(path, real_tokenizer):
    rows = read(path)
    assert len(rows) > 40
    spec = with_labels(task(labels=[]), rows)
    features = tagging.encode(rows, real_tokenizer, spec, 128)
    tags = tagging.decode(gold_logits(features, len(spec.labels)), features, rows, spec)
    assert tags == [list(row.target) for row in rows]


@pytest.mark.long
@pytest.mark.skipif(not FILES, reason="no tagged files: set XSTILTS_SHARED_DATA")
def test_all_real_sentences_as_one(real_tokenizer):
    rows = [row for path in FILES[:3] for row in read(path)[:150]]
    words = [word for row in rows for word in row.fields["words"]]
    tags = [tag for row in rows for tag in row.target]
    assert len(words) > 2000
    one = [example(words, tuple(tags))]
    spec = with_labels(task(labels=[]), one)
    features = tagging.encode(one, real_tokenizer, spec, 64)
    assert tagging.decode(gold_logits(features, len(spec.labels)), features, one, spec) == [tags]
