"""Sentences to be embedded: no task training, no head, `<s> text </s>` cut at the end.

What is done with their vectors is in `xstilts.evaluate.retrieval.mining`; `Options` are a task's
defaults for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from xstilts.backbone.pooling import Pooling
from xstilts.config.specs import Spec, TaskSpec
from xstilts.data.arrays import np
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.rows import Context, Row, text_field
from xstilts.tasks.formats._fields import options, room, texts
from xstilts.tasks.formats._pieces import single_plan, template, tokenise

FIELDS: tuple[str, ...] = ("text",)
NEEDS_HEAD = False
LABELLED = False
PER_TOKEN = True
PREDICTS = False
GIVES = "vectors"
TWO_SIDED = True
LAYOUT = None
PIPELINE = "sentence-similarity"


class Options(Spec):
    """How sentences are compared, where a run does not say otherwise.

    Attributes:
        layer: Block that is pooled; -1 is the backbone's `retrieval_layer`.
        pooling: `mean` over all sub-words, special ones included, `cls`, the first, or `last`.
        neighbours: Neighbours looked at on each side in mining.
        margin: How mining sets a cosine against its neighbourhood.
        direction: Which best candidates mining takes.
        threshold: Score from which a mined pair counts; tuned on the validation split when None.
        depth: Ranks that count, where the metric looks at several.
        index: What mining looks neighbours up in: `exact`, or `ivf` or `hnsw`, which may miss some;
            the share that they find is a score row, `index_recall`.
    """

    layer: int = Field(default=-1, ge=-1)
    pooling: Pooling = "mean"
    neighbours: int = Field(default=4, gt=0)
    margin: Literal["ratio", "distance", "absolute"] = "ratio"
    direction: Literal["max", "forward", "backward", "intersection"] = "max"
    threshold: float | None = None
    depth: int = Field(default=20, gt=0)
    index: Literal["exact", "ivf", "hnsw"] = "exact"


def read_row(row: Row, context: Context) -> tuple[dict[str, Any], None]:
    """The text."""
    return {"text": text_field(row, context, "text")}, None


def encode(
    examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
) -> Features:
    """One row a sentence, at most `max_length` sub-words with the special tokens.

    Raises:
        DataError: A row has no `text`.
    """
    options(Options, task)
    pieces = tokenise(tokenizer, texts(examples, "text"))
    around = template(tokenizer, pair=False)
    kept = np.minimum(pieces.lengths, room(max_length, around.size, task))
    ids = single_plan(around, (pieces.starts, kept)).fill(
        around.prefix, pieces.values, around.suffix
    )
    index, cut = np.arange(len(examples), dtype=np.int64), kept < pieces.lengths
    return Features(ids, index, len(examples), cut=int(cut.sum()))
