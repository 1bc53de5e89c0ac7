"""One label for a text or a pair of texts: NLI, paraphrases, sentiment.

A pair is `<s> A </s></s> B </s>`, cut longest first. The head reads the first token's last hidden
state (of a language model the last token's) through a new dense layer, as transformers' RoBERTa
classification head does. It does not read
the pooler: XLM-R's pretraining has no sentence objective, so the checkpoint's pooler is random or
absent, and a second dense layer on top of it (as some STILTs code has it) hides that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from xstilts.config.specs import TaskSpec
from xstilts.data.arrays import IntArray, NDArray, np
from xstilts.data.examples import Example
from xstilts.data.features import Batch, Features
from xstilts.data.rows import Context, Row, has, label_name, raw_target, text_field
from xstilts.errors import DataError
from xstilts.tasks.formats._fields import (
    IGNORED,
    SentenceHeadOptions,
    label_ids,
    label_table,
    options,
    room,
    softmax,
    texts,
)
from xstilts.tasks.formats._pieces import pair_plan, single_plan, template, tokenise

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FIELDS: tuple[str, ...] = ("text",)
OPTIONAL = ("text_pair",)
NEEDS_HEAD = True
LABELLED = True
PER_TOKEN = False
PREDICTS = True
GIVES = "texts"
LABEL_SET = True
TRANSLATED = ("text", "text_pair")
Options = SentenceHeadOptions
PIPELINE = "text-classification"
HF_CLASS = "AutoModelForSequenceClassification"
HF_CODE = ("model.classifier.load_state_dict(head)",)
HF_NAMES = {"dense": "classifier.dense", "out_proj": "classifier.out_proj"}
HF_NAMES_BERT = {"dense": "{base}.pooler.dense", "out_proj": "classifier"}
ADAPTERS_TYPE = "classification"
ADAPTERS_HEAD = {"layers": 2, "use_pooler": False, "bias": True}


def read_row(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    """One or two texts, and the label; see `RowFormat`."""
    raw = raw_target(row, context)
    target = None if raw is None else label_name(raw, context, row.number)
    names = [name for name in ("text", "text_pair") if name == "text" or has(context, name)]
    return {name: text_field(row, context, name) for name in names}, target


def encode(
    examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
) -> Features:
    """One row an example; `scalars["label"]` is the label's number, -100 without a target.

    Raises:
        DataError: A field is missing, only some examples have a `text_pair`, or a label is unknown.
    """
    options(SentenceHeadOptions, task)
    labels = label_ids(examples, task)
    paired = [example for example in examples if "text_pair" in example.fields]
    if paired and len(paired) != len(examples):
        alone = next(example for example in examples if "text_pair" not in example.fields)
        raise DataError(
            f"row '{alone.id}' has no 'text_pair', but others of task '{task.name}' have one",
            where=alone.place,
        )
    first = tokenise(tokenizer, texts(examples, "text"))
    if paired:
        second = tokenise(tokenizer, texts(examples, "text_pair"))
        around = template(tokenizer, pair=True)
        left, right = longest_first(
            first.lengths, second.lengths, room(max_length, around.size, task)
        )
        cut = left + right < first.lengths + second.lengths
        plan = pair_plan(around, (first.starts, left), (second.starts, right))
        ids = plan.fill(around.prefix, first.values, around.middle, second.values, around.suffix)
    else:
        around = template(tokenizer, pair=False)
        kept = np.minimum(first.lengths, room(max_length, around.size, task))
        cut = kept < first.lengths
        plan = single_plan(around, (first.starts, kept))
        ids = plan.fill(around.prefix, first.values, around.suffix)
    index = np.arange(len(examples), dtype=np.int64)
    return Features(ids, index, len(examples), scalars={"label": labels}, cut=int(cut.sum()))


def longest_first(first: IntArray, second: IntArray, budget: int) -> tuple[IntArray, IntArray]:
    """Lengths of both sides of each pair after taking tokens from the longer side's end.

    When both sides are cut, they end up equal, and an odd token goes to the side that was longer
    (to the second on a tie), as in tokenizers 0.22; later versions give it to either.
    """
    short, long = np.minimum(first, second), np.maximum(first, second)
    over = short + long > budget
    long = np.where(over, np.maximum(short, budget - short), long)
    both = short + long > budget
    short = np.where(both, budget // 2, short)
    long = np.where(both, budget - budget // 2, long)
    swapped = first > second
    return np.where(swapped, long, short), np.where(swapped, short, long)


def make_head(
    hidden_size: int,
    task: TaskSpec,
    generator: torch.Generator,
    *,
    embeddings: nn.Module | None = None,
) -> nn.Module:
    """Dropout, dense, tanh, dropout, linear on the text's vector: [B, T, D] to [B, labels]."""
    from xstilts.tasks.formats._heads import SentenceHead

    chosen = options(SentenceHeadOptions, task)
    outputs = len(label_table(task))
    return SentenceHead(hidden_size, outputs, chosen.head_dropout, generator, chosen.head_pooling)


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of each example, [E] float32."""
    from torch.nn import functional as F

    return F.cross_entropy(
        logits.float(), batch.scalars["label"], reduction="none", ignore_index=IGNORED
    )


def decode(
    logits: Sequence[NDArray[np.float32]],
    features: Features,
    examples: Sequence[Example],
    task: TaskSpec,
) -> list[str]:
    """The label with the highest score, for each example."""
    return [task.labels[int(np.argmax(row))] for row in logits]


def probabilities(
    logits: Sequence[NDArray[np.float32]], features: Features, task: TaskSpec
) -> Iterator[dict[str, float]]:
    """The share of each label, by name."""
    del features
    for row in logits:
        yield dict(zip(task.labels, softmax(row), strict=True))


def classes(hidden_BTD: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """First tokens, and the labels."""
    return hidden_BTD[:, 0], batch.scalars["label"]
