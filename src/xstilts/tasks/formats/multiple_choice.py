"""One of several choices: one encoder run a choice, one score each, softmax over the choices.

A row is `<s> context question </s></s> choice </s>`. When it is too long, the context loses words
at its beginning: what stands next to the question and the choice matters most. The number of
choices may differ between examples; nothing but the batch's rows states it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Batch, Features
from xstilts.errors import DataError
from xstilts.tasks.formats._fields import IGNORED, HeadOptions, lists, options, room, texts
from xstilts.tasks.formats._heads import FirstTokenHead
from xstilts.tasks.formats._pieces import pair_plan, template, tokenise

FIELDS: tuple[str, ...] = ("context", "question", "choices")
NEEDS_HEAD = True
LABELLED = True
PER_TOKEN = False
PREDICTS = True


def encode(
    examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
) -> Features:
    """One row a choice; `scalars["label"]` is the right choice's index, on each of its rows.

    A choice that alone is too long is cut at its end.

    Raises:
        DataError: A field is missing, there are fewer than two choices, or the target is no index
            of one of them.
    """
    options(HeadOptions, task)
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
    return Features(ids, example, len(examples), scalars={"label": labels[example]})


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
    """Dropout, dense, tanh, dropout, linear on the first token: [B, T, D] to [B], a score a row."""
    dropout = options(HeadOptions, task).head_dropout
    return _ChoiceHead(hidden_size, 1, dropout, generator)


class _ChoiceHead(FirstTokenHead):
    def forward(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        return super().forward(hidden_BTD, batch).squeeze(-1)


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy over the choices of each example, [E] float32."""
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
    scores = np.array([float(np.asarray(row).reshape(())) for row in logits])
    bounds = np.searchsorted(features.example, np.arange(features.num_examples + 1))
    pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    return [str(int(np.argmax(scores[start:end]))) for start, end in pairs]
