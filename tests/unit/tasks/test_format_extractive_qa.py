from __future__ import annotations

import json
import math
import random
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from support.files import SHARED
from support.tokenizers import tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.data.features import collate
from xstilts.errors import DataError, UsageError
from xstilts.tasks.formats import extractive_qa as qa
from xstilts.tasks.formats._spans import best_window

# XTREME's processed dev files hold an empty text in place of each answer.
STRIPPED = sorted(SHARED.glob("tydiqa_goldp/tydiqa.goldp.*.dev.json"))
FILES = sorted(
    path
    for pattern in ("xquad/*.json", "mlqa/dev/*.json", "tydiqa_goldp/*.json")
    for path in SHARED.glob(pattern)
    if path not in STRIPPED
)
WORDS = [
    "the",
    "river",
    "runs",
    "through",
    "an",
    "old",
    "town",
    "and",
    "past",
    "a",
    "mill",
    "where",
    "nobody",
    "works",
    "now",
]


@pytest.fixture(scope="module", params=["split", "keep"])
def tokenizer(request):
    texts = [" ".join(WORDS), "กำลังไหลผ่านเมือง น้ำ", "河流穿过老城。", "½ ﬁne ①②", "النهر"]
    return tiny_tokenizer(texts * 9, 130, blanks=request.param)


def task(**options) -> TaskSpec:
    return TaskSpec(
        name="qa", format="extractive_qa", languages=["en"], metric="x", sources=[], options=options
    )


def example(question, context, *answers, name="q") -> Example:
    found = tuple(Answer(text, context.index(text)) for text in answers)
    return Example(name, "en", {"question": question, "context": context}, found, "f.json:4")


def gold_logits(features):
    arrays = []
    for row in range(len(features)):
        scores = np.zeros((features.lengths[row], 2), np.float32)
        scores[features.scalars["start"][row], 0] = 10
        scores[features.scalars["end"][row], 1] = 10
        arrays.append(scores)
    return arrays


# ---------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("length", [24, 33, 60])
def test_windows_are_those_of_the_slow_way(tokenizer, length):
    # Not checked against the tokenizers library: 0.23 stops reading a text that it will cut, and
    # gives fewer windows than the text has.
    draw = random.Random(length)
    stride = 9
    rows = [
        example(" ".join(WORDS[:k]), " ".join(draw.choices(WORDS, k=draw.randint(0, 60))))
        for k in (1, 3) * 15
    ]
    features = qa.encode(rows, tokenizer, task(doc_stride=stride), length)
    expected, example_of = [], []
    for number, row in enumerate(rows):
        question, context = (
            tokenizer(row.fields[name], add_special_tokens=False)["input_ids"]
            for name in ("question", "context")
        )
        start = 0
        while True:
            window = context[start : start + length - 4 - len(question)]
            expected.append([0, *question, 2, 2, *window, 2])
            example_of.append(number)
            if start + len(window) >= len(context):
                break
            start += stride
    assert [features.input_ids[i].tolist() for i in range(len(features))] == expected
    assert features.example.tolist() == example_of
    assert len(features) > len(rows)


def test_a_stride_longer_than_the_window_skips_nothing(tokenizer):
    rows = [example("the", " ".join(WORDS * 6))]
    features = qa.encode(rows, tokenizer, task(doc_stride=500), 20)
    first, length = features.scalars["first"], features.scalars["length"]
    assert first.tolist() == [0, *np.cumsum(length)[:-1].tolist()]


def test_the_question_is_cut(tokenizer):
    rows = [example(" ".join(WORDS * 9), "old town")]
    features = qa.encode(rows, tokenizer, task(), 384)
    question = tokenizer(" ".join(WORDS * 9), add_special_tokens=False)["input_ids"]
    context = tokenizer("old town", add_special_tokens=False)["input_ids"]
    assert features.input_ids[0].tolist() == [0, *question[:64], 2, 2, *context, 2]
    with pytest.raises(UsageError, match="no room"):
        qa.encode(rows, tokenizer, task(), 68)


def test_best_window_by_hand():
    # Windows 0-9, 5-14, 10-14. Around 7: min(7, 2), min(2, 7): a tie, the earlier wins. Around 8:
    # 1 against min(3, 6) = 3. Around 12: min(7, 2) in the second, min(2, 2) in the third, which is
    # shorter (2.10 against 2.05).
    firsts, lengths = np.array([0, 5, 10]), np.array([10, 10, 5])
    assert best_window(firsts, lengths, np.array([0, 7, 8, 12])).tolist() == [0, 0, 1, 1]


def test_an_answer_over_a_stride_is_trained_on_where_it_is_whole(tokenizer):
    words = WORDS * 4
    context = " ".join(words)
    answer = " ".join(words[20:26])
    rows = [Example("q", "en", {"question": "a", "context": context}, (Answer(answer, 0),))]
    start = context.index(answer, len(" ".join(words[:20])))
    rows = [Example("q", "en", rows[0].fields, (Answer(answer, start),))]
    features = qa.encode(rows, tokenizer, task(doc_stride=10), 45)
    begins, ends = features.scalars["start"], features.scalars["end"]
    holding = np.flatnonzero(begins)
    assert 0 < len(holding) < len(features)
    for row in range(len(features)):
        if row in holding:
            chars = features.tokens["start_char"][row], features.tokens["end_char"][row]
            assert (chars[0][begins[row]], chars[1][ends[row]]) == (start, start + len(answer))
        else:
            assert (begins[row], ends[row]) == (0, 0)
    assert qa.decode(gold_logits(features), features, rows, task(doc_stride=10)) == [answer]


# --------------------------------------------------------------------------------- characters


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("  the  old   town ", "old"),
        ("the ½ mill", "½"),
        ("a ﬁne mill ①② past", "ﬁne"),
        ("a ﬁne mill ①② past", "①②"),
        ("河流穿过老城。 河流", "河流穿过老城。"),
        ("กำลังไหลผ่านเมือง น้ำ", "น้ำ"),
        ("past\u3000the\u00a0mill", "the"),
        ("\ufefftown runs", "town"),
        ("the mill[3]\u200b runs", "mill[3]\u200b"),
        ("النهر old", "النهر"),
        ("old 𝒳 town", "𝒳"),
    ],
)
def test_answers_are_cut_from_the_original_text(tokenizer, context, answer):
    rows = [example("where", context, answer)]
    features = qa.encode(rows, tokenizer, task(), 64)
    assert qa.decode(gold_logits(features), features, rows, task()) == [answer]


def test_an_end_on_a_bare_blank_piece_takes_no_letter(tokenizer):
    context = "old 河流"
    features = qa.encode([example("a", context)], tokenizer, task(), 64)
    ids = features.input_ids[0].tolist()
    blank = tokenizer.convert_tokens_to_ids("▁")
    place = max(number for number, piece in enumerate(ids) if piece == blank)
    assert place > int(features.scalars["begin"][0]) + 1
    scores = np.zeros((len(ids), 2), np.float32)
    scores[int(features.scalars["begin"][0]), 0] = 9
    scores[place, 1] = 9
    assert qa.decode([scores], features, [example("a", context)], task()) == ["old"]


def test_unknown_subwords_of_a_wordpiece_model_keep_their_characters():
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "the": 4, "a": 5}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
    special = {f"{name}_token": token for name, token in names.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    rows = [example("a", "the mill the", "mill")]
    features = qa.encode(rows, tokenizer, task(), 20)
    assert features.input_ids[0].tolist() == [2, 5, 3, 4, 1, 4, 3]
    assert qa.decode(gold_logits(features), features, rows, task()) == ["mill"]


def test_blanks_around_a_gold_answer_do_not_count(tokenizer):
    rows = [example("a", "the old town", " old ")]
    features = qa.encode(rows, tokenizer, task(), 64)
    assert qa.decode(gold_logits(features), features, rows, task()) == ["old"]


def test_an_answer_that_is_elsewhere_is_refused(tokenizer):
    fields = {"question": "a", "context": "the old town"}
    bad = Example("q7", "en", fields, (Answer("old", 5),), "f.json:4")
    with pytest.raises(DataError, match="'old' of 'q7' is not at character 5: 'ld ' is") as error:
        qa.encode([bad], tokenizer, task(), 64)
    assert error.value.where == "f.json:4"
    assert "character 4" in error.value.hint


# --------------------------------------------------------------------------- targets and loss


def test_targets_without_an_answer(tokenizer):
    fields = {"question": "a", "context": "the old town"}
    targets = [(), None, (Answer("", 0),)]
    rows = [Example(str(i), "en", fields, gold) for i, gold in enumerate(targets)]
    features = qa.encode(rows, tokenizer, task(), 64)
    assert features.scalars["start"].tolist() == [0, -100, -100]
    assert features.scalars["end"].tolist() == [0, -100, -100]


def test_the_loss_is_the_mean_of_start_and_end_and_of_windows():
    tokenizer = tiny_tokenizer([" ".join(WORDS)] * 9, 60, characters=True)
    rows = [example("a", "abcdefgh", "bc"), example("a", "abc", "c")]
    features = qa.encode(rows, tokenizer, task(doc_stride=3), 12)
    # Rows are <s> ▁ a </s></s>, up to six of ▁ a b c d e f g h, </s>: two windows and one.
    assert features.lengths.tolist() == [12, 12, 10]
    assert features.scalars["start"].tolist() == [7, 0, 8]
    batch = collate(features, np.arange(3), 1)
    logits = torch.zeros(3, 12, 2)
    logits[0, 7, 0] = math.log(5)
    # Window 1: start 5 of 16, end 1 of 12; window 2: 1 of 12 twice; row 3: ten sub-words are real.
    first = (math.log(16 / 5) + math.log(12)) / 2
    expected = torch.tensor([(first + math.log(12)) / 2, math.log(10)])
    torch.testing.assert_close(qa.loss(logits, batch), expected)


# ----------------------------------------------------------------------------------- decoding


def scored(features, starts, ends):
    scores = np.zeros((int(features.lengths[0]), 2), np.float32)
    begin = int(features.scalars["begin"][0])
    for place, value in starts.items():
        scores[begin + place, 0] = value
    for place, value in ends.items():
        scores[begin + place, 1] = value
    return [scores]


@pytest.fixture(scope="module")
def letters():
    tokenizer = tiny_tokenizer(["abcdefghij klm"] * 9, characters=True)
    rows = [example("a", "abcdefghij")]
    return rows, qa.encode(rows, tokenizer, task(), 40)  # ▁ is 0, a is 1, …


def test_the_best_pair_in_order_and_length_wins(letters):
    rows, features = letters
    logits = scored(features, {3: 5, 8: 4}, {2: 5, 4: 1, 9: 3})
    # 3..2 is backwards; 3..9 scores 8, 8..9 scores 7, 3..4 scores 6.
    assert qa.decode(logits, features, rows, task()) == ["cdefghi"]
    assert qa.decode(logits, features, rows, task(max_answer=6)) == ["hi"]
    ranking = qa.rank(logits, features, rows, task())[0]
    assert [(s.text, s.start, s.score) for s in ranking.spans[:2]] == [
        ("cdefghi", 2, 8.0),
        ("hi", 7, 7.0),
    ]
    assert len(ranking.spans) == 20
    assert len({span.text for span in ranking.spans}) == 20
    assert len(qa.rank(logits, features, rows, task(n_best=3))[0].spans) == 3


def test_no_answer_needs_the_option_and_the_margin(letters):
    rows, features = letters
    logits = scored(features, {3: 5}, {4: 1})
    logits[0][0] = [4, 4]
    assert qa.rank(logits, features, rows, task())[0].gap == 2.0
    assert qa.decode(logits, features, rows, task()) == ["cd"]
    assert qa.decode(logits, features, rows, task(null_answers="true")) == [""]
    wide = task(null_answers="true", null_threshold="2.0")
    assert qa.decode(logits, features, rows, wide) == ["cd"]


def test_an_empty_context_has_an_empty_answer(tokenizer):
    rows = [example("a", "")]
    features = qa.encode(rows, tokenizer, task(), 40)
    logits = [np.zeros((int(features.lengths[0]), 2), np.float32)]
    assert qa.decode(logits, features, rows, task()) == [""]
    assert qa.rank(logits, features, rows, task())[0].gap == math.inf


def test_no_answer_is_as_sure_as_its_least_sure_window(tokenizer):
    rows = [example("the", " ".join(WORDS * 5))]
    features = qa.encode(rows, tokenizer, task(doc_stride=20), 40)
    logits = [np.zeros((int(n), 2), np.float32) for n in features.lengths]
    assert len(logits) > 2
    for number, scores in enumerate(logits):
        scores[0] = [3 + number, 4]
    assert qa.rank(logits, features, rows, task(doc_stride=20))[0].null_score == 7.0


def test_best_threshold_by_hand():
    # Answer all up to a gap of -1: 1 + 0 + 0.5 answered, 1 for the empty one left: 2.5 of 4.
    gaps, answered, empty = [-3, -2, -1, 5], [1, 0, 0.5, 0], [0, 0, 0, 1]
    assert qa.best_threshold(gaps, answered, empty) == (-1.0, 2.5 / 4)
    # Nothing is worth answering.
    assert qa.best_threshold([1, 2], [0, 0], [1, 0]) == (-math.inf, 0.5)
    # Equal gaps go together: all (1 of 3) is worse than none (2 of 3).
    assert qa.best_threshold([1, 1, 1], [1, 0, 0], [0, 1, 1]) == (-math.inf, 2 / 3)


def test_best_threshold_is_the_best_of_all_thresholds():
    draw = np.random.default_rng(1)
    gaps = draw.integers(-4, 5, 60).astype(float)
    empty = draw.integers(0, 2, 60).astype(float)
    answered = np.where(empty == 1, 0, draw.random(60))

    def mean(threshold):
        return float(np.where(gaps > threshold, empty, answered).mean())

    threshold, value = qa.best_threshold(gaps, answered, empty)
    assert value == pytest.approx(mean(threshold))
    assert value == pytest.approx(max(mean(cut) for cut in [-9, *gaps]))


# --------------------------------------------------------------------------------- real files


def read(path: Path) -> list[Example]:
    rows = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                fields = {"question": asked["question"], "context": paragraph["context"]}
                golds = tuple(Answer(a["text"], a["answer_start"]) for a in asked["answers"])
                rows.append(Example(asked["id"], path.stem, fields, golds, path.name))
    return rows


def squad_words(text: str) -> list[str]:
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def squad_scores(gold: str, predicted: str) -> tuple[float, float]:
    """Exact match and F1 by SQuAD's rules."""
    a, b = squad_words(gold), squad_words(predicted)
    same = sum((Counter(a) & Counter(b)).values())
    return float(a == b), 2 * same / (len(a) + len(b)) if a or b else 0.0


def scores_from_gold(rows, features, spec) -> np.ndarray:
    """Exact match and F1 of each row, decoded from its gold positions."""
    predicted = qa.decode(gold_logits(features), features, rows, spec)
    return np.array(
        [
            max(squad_scores(gold.text, text) for gold in row.target)
            for row, text in zip(rows, predicted, strict=True)
        ]
    )


@pytest.fixture(scope="module")
def letter_tokenizer():
    texts = {row.fields["context"] for path in FILES for row in read(path)}
    return tiny_tokenizer(sorted(texts), characters=True)


@pytest.mark.long
@pytest.mark.skipif(not FILES, reason="no QA files: set XSTILTS_SHARED_DATA")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] if path.stat().st_size > 2e6 else [])
        for path in FILES
    ],
    ids=lambda path: path.stem,
)
def test_offsets_lose_nothing_in_any_real_file(path, letter_tokenizer):
    """Where every character is a sub-word, each gold answer comes back: EM 100, F1 100."""
    rows = read(path)
    spec = task(max_answer=2000)
    features = qa.encode(rows, letter_tokenizer, spec, 2048)
    assert scores_from_gold(rows, features, spec).mean(0).tolist() == [1.0, 1.0]


SMALL = [path for path in FILES if path.stem in ("xquad.zh", "xquad.hi", "korean_tydiqa_dev")]


@pytest.fixture(scope="module", params=["split", "keep"])
def subword_tokenizer(request):
    texts = [
        row.fields["context"][:600]
        for path in FILES
        for row in read(path)[:: 40 if path in SMALL else 400]
    ]
    return tiny_tokenizer(texts, 4000, blanks=request.param)


def on_boundaries(row: Example, tokenizer) -> bool:
    """Whether the first gold answer begins and ends where sub-words do."""
    context, gold = row.fields["context"], row.target[0]
    spans = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)
    starts, ends = set(), set()
    for number, (start, end) in zip(spans["input_ids"], spans["offset_mapping"], strict=True):
        piece = context[start:end]
        if tokenizer.convert_ids_to_tokens(number) != "▁" and piece.strip():
            starts.add(start + len(piece) - len(piece.lstrip()))
            ends.add(end)
    return gold.start in starts and gold.start + len(gold.text) in ends


def check_subwords(path, tokenizer, length=384):
    rows = read(path)
    spec = task(max_answer=length)
    features = qa.encode(rows, tokenizer, spec, length)
    missed = np.flatnonzero(scores_from_gold(rows, features, spec)[:, 0] < 1)
    # What is missed cannot be reached: the answer ends inside a sub-word, or no window holds it.
    for number in missed:
        whole = np.any(features.scalars["start"][features.rows_of([number])] > 0)
        text = rows[number].target[0].text
        assert not (whole and on_boundaries(rows[number], tokenizer)), text
    assert len(missed) <= 0.05 * len(rows)


@pytest.mark.long
@pytest.mark.skipif(not FILES, reason="no QA files: set XSTILTS_SHARED_DATA")
@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_subwords_lose_only_answers_that_end_inside_one(path, subword_tokenizer):
    check_subwords(path, subword_tokenizer)


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="no QA files: set XSTILTS_SHARED_DATA")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_subwords_lose_only_that_in_every_file(path, subword_tokenizer):
    check_subwords(path, subword_tokenizer)


@pytest.mark.skipif(not STRIPPED, reason="no stripped files: set XSTILTS_SHARED_DATA")
@pytest.mark.parametrize("path", STRIPPED, ids=lambda path: path.stem)
def test_answers_that_a_real_file_withholds_are_no_targets(path):
    rows = read(path)
    assert {answer.text for row in rows for answer in row.target} == {""}
    features = qa.encode(rows, tiny_tokenizer(["a"], characters=True), task(), 2048)
    assert features.num_examples == len(rows)
    assert set(features.scalars["start"].tolist()) == {-100}
    assert set(features.scalars["end"].tolist()) == {-100}
