"""One of several choices: one encoder run a choice, one score each, softmax over the choices.

A row is `<s> context question </s></s> choice </s>`. When it is too long, the context loses words
at its beginning: what stands next to the question and the choice matters most. The number of
choices may differ between examples; nothing but the batch's rows states it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from xstilts.config.specs import TaskSpec
from xstilts.data.arrays import NDArray, np
from xstilts.data.examples import Example
from xstilts.data.features import Batch, Features
from xstilts.data.rows import (
    Context,
    Missing,
    Row,
    checked_text,
    has,
    label_name,
    plain_text,
    raw_target,
    text_field,
    wrong,
)
from xstilts.errors import DataError
from xstilts.tasks.formats._fields import (
    IGNORED,
    SentenceHeadOptions,
    lists,
    options,
    room,
    softmax,
    texts,
)
from xstilts.tasks.formats._pieces import pair_plan, template, tokenise
from xstilts.tasks.layouts import CHOICES

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FIELDS: tuple[str, ...] = ("context", "question", "choices")
NEEDS_HEAD = True
LABELLED = True
PER_TOKEN = False
PREDICTS = True
GIVES = "texts"
TRANSLATED = FIELDS
LAYOUT = CHOICES
PIPELINE = "multiple-choice"
HF_CLASS = "AutoModelForMultipleChoice"
HF_CODE = (
    "pooler = model.base_model.pooler.dense",
    'pooler.load_state_dict({k: head[f"dense.{k}"] for k in ("weight", "bias")})',
    'model.classifier.load_state_dict({k: head[f"out_proj.{k}"] for k in ("weight", "bias")})',
)
HF_NAMES = {"dense": "{base}.pooler.dense", "out_proj": "classifier"}
ADAPTERS_CHOICES = 4
"""The adapters library reshapes scores by a fixed number of choices; users may set another."""
ADAPTERS_TYPE = "multiple_choice"
ADAPTERS_HEAD = {
    "layers": 2,
    "use_pooler": False,
    "num_choices": ADAPTERS_CHOICES,
    "label2id": {str(number): number for number in range(ADAPTERS_CHOICES)},
}


def read_row(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    """Context and question where there are such columns, the choices, and the right one."""
    raw = raw_target(row, context)
    columns = [c.strip() for c in str(context.source.columns.get("choices", "")).split(",")]
    try:
        values = [row.get(column) for column in columns]
    except Missing:
        raise wrong(row, context, f"a choice is missing: needs {', '.join(columns)}") from None
    found = values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values
    choices = tuple(_choice_text(c, number, row, context) for number, c in enumerate(found))
    if len(choices) < 2:
        raise wrong(row, context, f"{len(choices)} choices; at least two are needed")
    target = None if raw is None else label_name(raw, context, row.number)
    if target is not None and not (target.isdecimal() and int(target) < len(choices)):
        raise wrong(row, context, f"label '{raw}' names none of the {len(choices)} choices")
    question = (
        text_field(row, context, "question", required=False) if has(context, "question") else ""
    )
    fields = {"context": text_field(row, context, "context") if has(context, "context") else ""}
    return {**fields, "question": question, "choices": choices}, target


def _choice_text(value: Any, number: int, row: Row, context: Context) -> str:
    name = f"choice {number}"
    return checked_text(plain_text(value, name, context, row.number), name, context, row.number)


def encode(
    examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
) -> Features:
    """One row a choice; `scalars["label"]` is the right choice's index, on each of its rows.

    A choice that alone is too long is cut at its end.

    Raises:
        DataError: A field is missing, there are fewer than two choices, or the target is no index
            of one of them.
    """
    options(SentenceHeadOptions, task)
    choices = lists(examples, "choices")
    counts = np.array([len(of_one) for of_one in choices], dtype=np.int64)
    labels = np.array(
        [_label(example, n) for example, n in zip(examples, counts.tolist(), strict=True)],
        dtype=np.int64,
    )
    prompts = [
        " ".join(part for part in pair if part)
        for pair in zip(texts(examples, "context"), texts(examples, "question"), strict=True)
    ]
    example = np.repeat(np.arange(len(examples), dtype=np.int64), counts)
    prompt = tokenise(tokenizer, prompts)
    choice = tokenise(tokenizer, [text for of_one in choices for text in of_one])
    around = template(tokenizer, pair=True)
    budget = room(max_length, around.size, task)
    right = np.minimum(choice.lengths, budget)
    length = prompt.lengths[example]
    left = np.minimum(length, budget - right)
    plan = pair_plan(around, (prompt.starts[example] + length - left, left), (choice.starts, right))
    ids = plan.fill(around.prefix, prompt.values, around.middle, choice.values, around.suffix)
    cut = len(np.unique(example[(left < length) | (right < choice.lengths)]))
    return Features(ids, example, len(examples), scalars={"label": labels[example]}, cut=cut)


def _label(example: Example, choices: int) -> int:
    if choices < 2:
        raise DataError(
            f"row '{example.id}' has {choices} choice(s); two or more are needed",
            where=example.place,
        )
    if example.target is None:
        return IGNORED
    known = [str(number) for number in range(choices)]
    if example.target not in known:
        raise DataError(
            f"target {example.target!r} of row '{example.id}' is not the index of a choice",
            where=example.place,
            hint=f"Expected one of {', '.join(known)}: the first choice is 0.",
        )
    return int(example.target)


def make_head(
    hidden_size: int,
    task: TaskSpec,
    generator: torch.Generator,
    *,
    embeddings: nn.Module | None = None,
) -> nn.Module:
    """Dropout, dense, tanh, dropout, linear on the text's vector: [B, T, D] to [B], one a row."""
    from xstilts.tasks.formats._heads import ChoiceHead

    chosen = options(SentenceHeadOptions, task)
    return ChoiceHead(hidden_size, 1, chosen.head_dropout, generator, chosen.head_pooling)


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy over the choices of each example, [E] float32."""
    import torch
    from torch.nn import functional as F

    counts = torch.bincount(batch.example, minlength=batch.num_examples)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(batch.example), device=logits.device) - first[batch.example]
    scores = logits.new_full((batch.num_examples, int(counts.max())), -torch.inf).float()
    scores = scores.index_put((batch.example, place), logits.float())
    label = batch.scalars["label"][first]
    return F.cross_entropy(scores, label, reduction="none", ignore_index=IGNORED)


def decode(
    logits: Sequence[NDArray[np.float32]],
    features: Features,
    examples: Sequence[Example],
    task: TaskSpec,
) -> list[str]:
    """The index of the choice with the highest score, as text; the first one on a tie."""
    return [str(int(np.argmax(scores))) for scores in _scores(logits, features)]


def _scores(
    logits: Sequence[NDArray[np.float32]], features: Features
) -> Iterator[NDArray[np.float64]]:
    """The scores of each example's choices."""
    scores = np.array([float(np.asarray(row).reshape(())) for row in logits])
    bounds = np.searchsorted(features.example, np.arange(features.num_examples + 1)).tolist()
    for start, end in pairwise(bounds):
        yield scores[start:end]


def probabilities(
    logits: Sequence[NDArray[np.float32]], features: Features, task: TaskSpec
) -> Iterator[dict[str, float]]:
    """The share of each choice, by its number."""
    del task
    for scores in _scores(logits, features):
        yield {str(number): share for number, share in enumerate(softmax(scores))}


def record(value: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The number of the choice, and its text."""
    return {"prediction": int(value), "choice": fields["choices"][int(value)]}


def input_fields(row: str | Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Fields by name: a list of texts would not say which are choices."""
    if isinstance(row, Mapping):
        found = {name: row[name] for name in FIELDS if name in row}
        if isinstance(found.get("choices"), list):
            found["choices"] = tuple(found["choices"])
        return found
    if isinstance(row, str):
        return {"context": row}
    raise DataError(f"an input of {len(row)} texts", hint=f"Fields: {', '.join(FIELDS)}.")


def transformers_logits(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """[B, T] to [B]: all rows are the choices of one example."""
    logits: Tensor = model(input_ids=input_ids[None], attention_mask=attention_mask[None]).logits
    return logits[0]


def classes(hidden_BTD: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """First tokens, and whether each is that of the right choice."""
    import torch

    first = torch.cat([torch.ones(1, dtype=torch.bool), batch.example[1:] != batch.example[:-1]])
    start = torch.where(first)[0][first.cumsum(0) - 1]
    place = torch.arange(len(batch.example)) - start
    return hidden_BTD[:, 0], (place == batch.scalars["label"]).long()
