"""One tag a word: parts of speech, entities, supertags.

Words are split into sub-words one by one, as XTREME does for SentencePiece models. The first
sub-word carries the label. A sentence that is too long becomes several rows, cut before the word
that would overflow, and is one sentence again after decoding: no word is lost. A word without
sub-words, or with more than a row holds, becomes one unknown sub-word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xstilts.config.specs import TaskSpec
from xstilts.data.arrays import Int32, IntArray, NDArray, np
from xstilts.data.examples import Example
from xstilts.data.features import Batch, Features, Ragged
from xstilts.data.rows import (
    Context,
    Row,
    checked_word,
    label_name,
    plain_text,
    raw_target,
    value_of,
    wrong,
)
from xstilts.data.text import blank_split, is_blank, read_lines
from xstilts.errors import DataError
from xstilts.tasks.formats._fields import (
    IGNORED,
    HeadOptions,
    label_id,
    label_table,
    lists,
    options,
    room,
)
from xstilts.tasks.formats._pieces import (
    RowPlan,
    ranges,
    single_plan,
    template,
    tokenise,
    unknown_id,
)
from xstilts.tasks.layouts import TAGS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FIELDS: tuple[str, ...] = ("words",)
NEEDS_HEAD = True
LABELLED = True
PER_TOKEN = True
PREDICTS = True
GIVES = "lists"
LABEL_SET = True
LAYOUT = TAGS
PIPELINE = "token-classification"
HF_CLASS = "AutoModelForTokenClassification"
HF_CODE = (
    'model.classifier.load_state_dict({k[len("classifier.") :]: v for k, v in head.items()})',
)
HF_NAMES = {"classifier": "classifier"}
ADAPTERS_TYPE = "tagging"
ADAPTERS_HEAD = {"layers": 1}


def read_row(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    """Words and tags, each a list or a text cut at blanks."""
    words = value_of(row, context, "words")
    if isinstance(words, str):
        words = blank_split(words)
    if not isinstance(words, list | tuple) or not words:
        raise wrong(row, context, "a sentence without words")
    texts = (plain_text(word, "word", context, row.number) for word in words)
    words = [checked_word(text, context, row.number) for text in texts]
    tags = raw_target(row, context)
    if isinstance(tags, str):
        tags = blank_split(tags)
    if tags is not None and not isinstance(tags, list | tuple):
        raise wrong(row, context, "the labels are not a list, one for each word")
    if tags is not None and len(tags) != len(words):
        raise wrong(row, context, f"{len(words)} words but {len(tags)} labels")
    target = None if tags is None else tuple(label_name(t, context, row.number) for t in tags)
    return {"words": tuple(words)}, target


def read_targets(examples: Sequence[Example], context: Context) -> list[tuple[str, ...]]:
    """A tag a line, a blank line between sentences.

    Raises:
        DataError: A sentence has not as many tags as words, or a tag is unknown.
    """
    targets = _tags(context)
    for row, (example, target) in enumerate(zip(examples, targets, strict=False), 1):
        words = len(example.fields["words"])
        if len(target) != words and len(targets) == len(examples):
            raise DataError(
                f"{len(target)} labels for the {words} words of sentence {row} ({example.place})",
                where=str(context.path),
            )
    return targets


def _tags(context: Context) -> list[tuple[str, ...]]:
    sentences: list[tuple[str, ...]] = []
    current: list[str] = []
    for row, line in enumerate(read_lines(context.path), 1):
        if not is_blank(line):
            current.append(label_name(line, context, row))
        elif current:
            sentences.append(tuple(current))
            current = []
    return [*sentences, tuple(current)] if current else sentences


def encode(
    examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
) -> Features:
    """One row a sentence, or several for a long one.

    `tokens["word"]` holds a word's index in its sentence at the word's first sub-word, and
    `tokens["labels"]` its label number there; both are -100 elsewhere.

    Raises:
        DataError: A field is missing, there are not as many labels as words, or one is unknown.
    """
    options(HeadOptions, task)
    sentences = lists(examples, "words")
    counts = np.array([len(words) for words in sentences], dtype=np.int64)
    labels = _labels(examples, sentences, task)
    pieces = tokenise(tokenizer, [word for words in sentences for word in words])
    # XTREME keeps one more place free than a row needs (its separator is doubled, as between
    # pairs): 125 sub-words of 128 for XLM-R, 126 for BERT. Kept, so that rows break where it does.
    budget = room(max_length, template(tokenizer, pair=True).size - 1, task)
    unknown = (pieces.lengths == 0) | (pieces.lengths > budget)
    values = np.append(pieces.values, np.int32(unknown_id(tokenizer)))
    starts = np.where(unknown, len(values) - 1, pieces.starts)
    lengths = np.where(unknown, 1, pieces.lengths)
    stream = values[ranges(starts, lengths)]
    ends = np.cumsum(lengths)
    first = np.zeros(len(stream), dtype=bool)
    first[ends - lengths] = True
    inside = np.arange(len(lengths)) - np.repeat(np.cumsum(counts) - counts, counts)
    example, begin, end = _rows(counts, lengths, budget)
    bounds = np.concatenate([[0], ends])
    slices = (bounds[begin], bounds[end] - bounds[begin])
    around = template(tokenizer, pair=False)
    plan = single_plan(around, slices)
    ids = plan.fill(around.prefix, stream, around.suffix)
    tokens = {
        "word": _beside(plan, first, inside.astype(np.int32)),
        "labels": _beside(plan, first, labels),
    }
    word_of = np.repeat(np.arange(len(examples)), counts)
    cut = len(np.unique(word_of[pieces.lengths > budget]))  # such a word is the unknown one
    return Features(ids, example, len(examples), tokens, cut=cut)


def _beside(plan: RowPlan, first: NDArray[np.bool_], of_words: Int32) -> Ragged:
    """`of_words` at first sub-words, -100 elsewhere, in the shape of the rows."""
    stream = np.full(len(first), IGNORED, np.int32)
    stream[first] = of_words
    return plan.fill(IGNORED, stream, IGNORED)


def _labels(
    examples: Sequence[Example], sentences: Sequence[Sequence[str]], task: TaskSpec
) -> Int32:
    """Label numbers of all words, end to end."""
    table = label_table(task)
    found: list[int] = []
    for example, words in zip(examples, sentences, strict=True):
        if example.target is None:
            found.extend([IGNORED] * len(words))
            continue
        if len(example.target) != len(words):
            raise DataError(
                f"row '{example.id}' has {len(words)} words but {len(example.target)} labels",
                where=example.place,
            )
        found.extend(label_id(name, table, example) for name in example.target)
    return np.array(found, dtype=np.int32)


def _rows(counts: IntArray, lengths: IntArray, budget: int) -> tuple[IntArray, IntArray, IntArray]:
    """For each row its sentence, and the range of its words among all words."""
    rows: list[tuple[int, int, int]] = []
    ends = np.cumsum(counts)
    totals = np.concatenate([[0], np.cumsum(lengths)])
    for sentence, (end, count) in enumerate(zip(ends.tolist(), counts.tolist(), strict=True)):
        begin = end - count
        while totals[end] - totals[begin] > budget:
            cut = int(np.searchsorted(totals, totals[begin] + budget, side="right")) - 1
            rows.append((sentence, begin, cut))
            begin = cut
        rows.append((sentence, begin, end))
    example, begins, stops = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return example, begins, stops


def make_head(
    hidden_size: int,
    task: TaskSpec,
    generator: torch.Generator,
    *,
    embeddings: nn.Module | None = None,
) -> nn.Module:
    """Dropout and one linear layer: [B, T, D] to [B, T, labels]."""
    from xstilts.tasks.formats._heads import TokenHead

    dropout = options(HeadOptions, task).head_dropout
    return TokenHead(hidden_size, len(label_table(task)), dropout, generator)


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy over the labelled sub-words of each example, [E] float32."""
    from torch.nn import functional as F

    from xstilts.tasks.formats._heads import mean_by_example

    labels = batch.tokens["labels"]
    here = labels != IGNORED
    values = F.cross_entropy(logits[here].float(), labels[here], reduction="none")
    example = batch.example[:, None].expand_as(labels)[here]
    return mean_by_example(values, example, batch.num_examples)


def decode(
    logits: Sequence[NDArray[np.float32]],
    features: Features,
    examples: Sequence[Example],
    task: TaskSpec,
) -> list[list[str]]:
    """A tag for every word of every sentence, in order."""
    tags: list[list[str]] = [[] for _ in range(features.num_examples)]
    word = features.tokens["word"]
    for row, scores in enumerate(logits):
        best = np.argmax(scores[word[row] != IGNORED], axis=-1)
        tags[int(features.example[row])].extend(task.labels[number] for number in best.tolist())
    return tags


def input_fields(row: str | Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """The words of one input; a text is cut at blanks."""
    if isinstance(row, Mapping):
        if "words" not in row:
            return {}
        row = row["words"]
    return {"words": tuple(blank_split(row) if isinstance(row, str) else row)}


def record(value: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The tags, and the words beside them."""
    return {"prediction": list(value), "words": list(fields["words"])}


def classes(hidden_BTD: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """First sub-words of words, and their tags."""
    here = batch.tokens["labels"] >= 0
    return hidden_BTD[here], batch.tokens["labels"][here]
