"""The span of a context that answers a question.

A row is `<s> question </s></s> window of the context </s>`. The question is cut to 64 sub-words; a
long context gives several windows, each `doc_stride` sub-words after the last. That is the stride
of SQuAD's original code and of XTREME; libraries that take a `stride` often mean the overlap.

Answers are cut out of the original context by character offsets, so nothing is lost in any script.
`decode: whitespace` instead rebuilds them as the first BERT code did, for comparison with published
figures (see `xstilts.tasks.formats._whitespace`). For SQuAD 2.0 set `null_answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from xstilts.config.specs import TaskSpec
from xstilts.data.arrays import Int32, IntArray, NDArray, np
from xstilts.data.examples import Answer, Example
from xstilts.data.features import Batch, Features
from xstilts.data.row_formats import answers_of
from xstilts.data.rows import Context, Row, has, is_missing, raw_target, text_field, value_of, wrong
from xstilts.data.text import read_json, where
from xstilts.errors import DataError
from xstilts.tasks.formats import _spans
from xstilts.tasks.formats._fields import IGNORED, HeadOptions, options, room, texts
from xstilts.tasks.formats._pieces import Pieces, ended, pair_plan, template, tokenise
from xstilts.tasks.layouts import ANSWERS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FIELDS: tuple[str, ...] = ("question", "context")
NEEDS_HEAD = True
LABELLED = True
PER_TOKEN = True
PREDICTS = True
GIVES = "answers"
TRANSLATED = FIELDS
SPAN_FIELD = "context"
LAYOUT = ANSWERS
PIPELINE = "question-answering"
HF_CLASS = "AutoModelForQuestionAnswering"
HF_CODE = (
    'model.qa_outputs.load_state_dict({k[len("classifier.") :]: v for k, v in head.items()})',
)
HF_NAMES = {"classifier": "qa_outputs"}
ADAPTERS_TYPE = "question_answering"
ADAPTERS_HEAD = {
    "layers": 1,
    "label2id": {"start": 0, "end": 1},
}

best_threshold = _spans.best_threshold


class Options(HeadOptions):
    """Settings of extractive QA; lengths are sub-words.

    Attributes:
        head_dropout: Share of the head's inputs dropped in training; 0 as in BERT's QA head.
        doc_stride: Distance between the starts of neighbouring windows.
        question_length: The question is cut to this.
        max_answer: Longest answer that is predicted.
        n_best: Starts and ends considered in a window, and candidates kept.
        max_context: A start counts only in the window that shows most context around it.
        null_answers: Predict no answer (an empty text) when that scores higher.
        null_threshold: By how much it must score higher.
        decode: `offsets` cuts answers out of the context, `whitespace` is the old way.
    """

    head_dropout: float = 0.0
    doc_stride: int = Field(default=128, gt=0)
    question_length: int = Field(default=64, gt=0)
    max_answer: int = Field(default=30, gt=0)
    n_best: int = Field(default=20, gt=0)
    max_context: bool = True
    null_answers: bool = False
    null_threshold: float = 0.0
    decode: Literal["offsets", "whitespace"] = "offsets"


def read_row(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    """Question, context, and the gold answers, checked against it."""
    raw = _raw_answers(row, context)
    if isinstance(raw, str):
        raw = [{"text": raw, "answer_start": _start(row, context)}]
    passage = text_field(row, context, "context")
    question = text_field(row, context, "question")
    return {"question": question, "context": passage}, answers_of(raw, passage, context, row.number)


def _raw_answers(row: Row, context: Context) -> Any:
    """Gold answers as written; an empty cell is a question without an answer where those belong."""
    if context.options.unanswerable and has(context, "target"):
        value = value_of(row, context, "target")
        if is_missing(value) or (isinstance(value, str) and not value.strip()):
            return []
    return raw_target(row, context)


def _start(row: Row, context: Context) -> int:
    """The offset of an answer that stands in a column of its own; 0 when it is to be looked for."""
    if has(context, "answer_start"):
        value = str(value_of(row, context, "answer_start")).strip()
        if not value.removeprefix("-").isdecimal():
            raise wrong(row, context, f"'{value}' is no offset of an answer")
        return int(value)
    if context.options.offsets == "nearest":
        return 0
    raise DataError(
        "an answer without its offset",
        where=where(context.path, row.number),
        hint="Add `columns: {answer_start: …}`, or `options: {offsets: nearest}` to take its "
        "first place in the context.",
    )


def read_targets(examples: Sequence[Example], context: Context) -> list[Any]:
    """The answers of a SQuAD file, by the questions' ids.

    Raises:
        DataError: It is no SQuAD file, or lacks a question.
    """
    data = read_json(context.path)
    found: dict[str, Any] = {}
    try:
        for article in data["data"] if isinstance(data, dict) else data:
            for paragraph in article["paragraphs"]:
                found.update((q["id"], q["answers"]) for q in paragraph["qas"])
    except (KeyError, TypeError):
        raise DataError("not SQuAD JSON", where=str(context.path)) from None
    result = []
    for row, example in enumerate(examples, 1):
        if example.id not in found:
            raise DataError(f"no answers for question {example.id}", where=where(context.path, row))
        result.append(answers_of(found[example.id], example.fields["context"], context, row))
    return result


def encode(
    examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
) -> Features:
    """One row a window.

    `tokens["start_char"]` and `tokens["end_char"]` are the characters of the context behind each
    sub-word, blanks trimmed, -100 outside the context. Scalars of a row: `begin` (position of its
    first context sub-word), `first` (that sub-word's number in the context), `length` (context
    sub-words), `start` and `end` (positions of the answer; 0 in a window that does not hold all of
    it, -100 without a target). Of several golds the first one is trained on.

    Raises:
        DataError: A field is missing, or a gold answer is not in the context where it should be.
    """
    settings = options(Options, task)
    contexts = texts(examples, "context")
    question = tokenise(tokenizer, texts(examples, "question"))
    context = _spans.trimmed(tokenise(tokenizer, contexts, offsets=True), contexts, tokenizer)
    around = ended(template(tokenizer, pair=True), tokenizer)
    asked = np.minimum(question.lengths, settings.question_length)
    longest = int(asked.max()) if len(asked) else 0
    rooms = room(max_length, around.size + longest, task) + longest - asked
    example, first, length = _windows(context.lengths, rooms, settings.doc_stride)
    plan = pair_plan(
        around,
        (question.starts[example], asked[example]),
        (context.starts[example] + first, length),
    )
    ids = plan.fill(around.prefix, question.values, around.middle, context.values, around.suffix)
    no = IGNORED
    tokens = {
        "start_char": plan.fill(no, no, no, context.more["start"], no),
        "end_char": plan.fill(no, no, no, context.more["end"], no),
    }
    begin = len(around.prefix) + asked[example] + len(around.middle)
    start, end = _targets(examples, context, example, first, length, begin)
    scalars = {"begin": begin, "first": first, "length": length, "start": start, "end": end}
    cut = int((asked < question.lengths).sum())
    return Features(ids, example, len(examples), tokens, scalars, cut)


def _windows(
    lengths: IntArray, rooms: IntArray, stride: int
) -> tuple[IntArray, IntArray, IntArray]:
    """For each window its example, its first context sub-word and how many it holds.

    A stride longer than the room would skip sub-words, so it is at most the room.
    """
    steps = np.minimum(stride, rooms)
    counts = 1 + np.maximum(0, -(-(lengths - rooms) // steps))
    example = np.repeat(np.arange(len(lengths), dtype=np.int64), counts)
    number = np.arange(len(example)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = number * steps[example]
    return example, first, np.minimum(rooms[example], lengths[example] - first)


def _targets(
    examples: Sequence[Example],
    context: Pieces,
    example: IntArray,
    first: IntArray,
    length: IntArray,
    begin: IntArray,
) -> tuple[IntArray, IntArray]:
    """Answer positions in each row."""
    spans = np.array(
        [_gold(row, context, number) for number, row in enumerate(examples)], dtype=np.int64
    ).reshape(-1, 2)
    start, end = spans[example].T
    inside = (start >= first) & (end < first + length) & (start >= 0)
    unlabelled = start == IGNORED
    shift = begin - first
    return (
        np.where(unlabelled, IGNORED, np.where(inside, start + shift, 0)),
        np.where(unlabelled, IGNORED, np.where(inside, end + shift, 0)),
    )


def _gold(example: Example, context: Pieces, number: int) -> tuple[int, int]:
    """First and last context sub-word of the gold answer; -1 for none, -100 for unlabelled."""
    if example.target is None:
        return IGNORED, IGNORED
    if not example.target:
        return -1, -1
    answer = example.target[0]
    # The public XTREME test files hold one empty answer at offset 0 in place of the gold.
    if not answer.text.strip():
        return IGNORED, IGNORED
    check_answer(example, answer)
    row = context.index[number]
    part = slice(int(context.ids.offsets[row]), int(context.ids.offsets[row + 1]))
    return covering(context.more["start"][part], context.more["end"][part], answer)


def check_answer(example: Example, answer: Answer) -> None:
    """Refuse a gold answer that the context does not have at its offset.

    Raises:
        DataError: It is elsewhere, or nowhere; the message shows what stands there.
    """
    context: str = example.fields["context"]
    there = context[answer.start : answer.start + len(answer.text)]
    if answer.start < 0 or there != answer.text:
        near = context.find(answer.text)
        raise DataError(
            f"answer {answer.text[:60]!r} of '{example.id}' is not at character {answer.start}: "
            f"{there[:60]!r} is",
            where=example.place,
            hint=f"The context has it at character {near}: was the text stripped?"
            if near >= 0
            else "The context does not contain it.",
        )


def covering(start: Int32, end: Int32, answer: Answer) -> tuple[int, int]:
    """First and last of the sub-words that share a character with the answer; -1 when none does.

    Args:
        start: First character of each sub-word of the context.
        end: One past its last character.
        answer: The answer; blanks around it do not count.
    """
    left = answer.start + len(answer.text) - len(answer.text.lstrip())
    right = answer.start + len(answer.text.rstrip())
    touching = np.flatnonzero((start < right) & (end > left) & (end > start))
    return (int(touching[0]), int(touching[-1])) if len(touching) else (-1, -1)


def make_head(
    hidden_size: int,
    task: TaskSpec,
    generator: torch.Generator,
    *,
    embeddings: nn.Module | None = None,
) -> nn.Module:
    """One linear layer: [B, T, D] to [B, T, 2], scores of being the first and the last sub-word.

    The first position is that of no answer.
    """
    from xstilts.tasks.formats._heads import SpanHead

    return SpanHead(hidden_size, 2, options(Options, task).head_dropout, generator)


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean over start and end, and over an example's windows, of the cross-entropy; [E] float32.

    Padding takes no part in the softmax, so the loss does not depend on the batch's width.
    """
    import torch
    from torch.nn import functional as F

    from xstilts.tasks.formats._heads import mean_by_example

    padding = batch.attention_mask[:, :, None] == 0
    scores = logits.float().masked_fill(padding, -torch.inf)
    target = torch.stack([batch.scalars["start"], batch.scalars["end"]], dim=1)
    rows = F.cross_entropy(scores, target, reduction="none", ignore_index=IGNORED).mean(1)
    return mean_by_example(rows, batch.example, batch.num_examples)


def decode(
    logits: Sequence[NDArray[np.float32]],
    features: Features,
    examples: Sequence[Example],
    task: TaskSpec,
) -> list[str]:
    """An answer text for each example; empty when no answer is predicted."""
    settings = options(Options, task)
    texts_found = []
    for ranking in rank(logits, features, examples, task):
        none = settings.null_answers and ranking.gap > settings.null_threshold
        texts_found.append("" if none or not ranking.spans else ranking.spans[0].text)
    return texts_found


def transformers_logits(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """[B, T] to [B, T, 2]."""
    import torch

    output = model(input_ids=input_ids, attention_mask=attention_mask)
    return torch.stack([output.start_logits, output.end_logits], dim=-1)


def classes(hidden_BTD: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Sub-words, and whether they are inside the answer."""
    import torch

    here = batch.attention_mask.bool()
    place = torch.arange(hidden_BTD.shape[1])[None]
    start, end = batch.scalars["start"][:, None], batch.scalars["end"][:, None]
    inside = (place >= start) & (place <= end) & (start > 0)
    return hidden_BTD[here], inside[here].long()


@dataclass(frozen=True, slots=True)
class Span:
    """A candidate answer: its text, where it starts in the context, start plus end logit."""

    text: str
    start: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one question may be answered with.

    Attributes:
        spans: Best first, texts all different; empty when the context is.
        null_score: Lowest score of "no answer" over the windows.
    """

    spans: tuple[Span, ...]
    null_score: float

    @property
    def gap(self) -> float:
        """How much "no answer" scores above the best span; infinite without a span."""
        return self.null_score - self.spans[0].score if self.spans else float("inf")


def rank(
    logits: Sequence[NDArray[np.float32]],
    features: Features,
    examples: Sequence[Example],
    task: TaskSpec,
) -> list[Ranking]:
    """The `n_best` answers of each example, over all its windows."""
    settings = options(Options, task)
    bounds = np.searchsorted(features.example, np.arange(features.num_examples + 1)).tolist()
    rankings = []
    for example, begin, end in zip(examples, bounds[:-1], bounds[1:], strict=True):
        found = _spans.candidates(logits, features, range(begin, end), settings)
        context: str = example.fields["context"]
        spans: dict[str, Span] = {}
        for start, stop, score in found:
            text = _spans.answer_text(context, start, stop, settings.decode)
            if text and text not in spans:
                spans[text] = Span(text, start, score)
            if len(spans) == settings.n_best:
                break
        null = min(float(logits[row][0].sum()) for row in range(begin, end))
        rankings.append(Ranking(tuple(spans.values()), null))
    return rankings
