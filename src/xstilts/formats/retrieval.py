"""Sentences to be embedded: no task training, no head, `<s> text </s>` cut at the end.

Layer, pooling and mining belong to `xstilts.retrieval`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.formats._fields import room, texts
from xstilts.formats._pieces import single_plan, template, tokenise
from xstilts.specs import TaskSpec

FIELDS: tuple[str, ...] = ("text",)
NEEDS_HEAD = False
LABELLED = False
PER_TOKEN = True
PREDICTS = False


def encode(
    examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
) -> Features:
    """One row a sentence, at most `max_length` sub-words with the special tokens.

    Raises:
        DataError: A row has no `text`.
    """
    pieces = tokenise(tokenizer, texts(examples, "text"))
    around = template(tokenizer, pair=False)
    kept = np.minimum(pieces.lengths, room(max_length, around.size, task))
    ids = single_plan(around, (pieces.starts, kept)).fill(
        around.prefix, pieces.values, around.suffix
    )
    return Features(ids, np.arange(len(examples), dtype=np.int64), len(examples))
