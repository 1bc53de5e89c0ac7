"""Formats: how rows become tensors, which head reads them, and how scores become predictions.

A format is one file of this package with these names:

    FIELDS: tuple[str, ...]         fields of `Example` that must be there
    NEEDS_HEAD: bool                False for retrieval: then only `encode` is there
    LABELLED: bool                  True when a training row needs a target
    PER_TOKEN: bool                 True when logits have a value a sub-word ([B, T, …])
    PREDICTS: bool                  False for masked_lm and retrieval: there is no `decode`
    LABEL_SET: bool                 True when targets are names of a fixed set, which may be read
                                    from the data; may be left out when False

    encode(examples, tokenizer, task, max_length) -> Features
        Rows in the order of the examples; a long example may give several rows. Raises `DataError`
        naming `example.place` when a field is missing or a label is not among `task.labels`, and
        `ConfigError` when `task.options` holds something the format does not know.
    make_head(hidden_size, task, generator, *, embeddings=None) -> nn.Module
        A new head; its `forward(hidden_BTD, batch) -> Tensor` gives the logits. `embeddings` is
        the backbone's word embedding module, for a head that is tied to it; others ignore it.
        Nothing is drawn from a global random state.
    loss(logits, batch) -> Tensor
        The loss of each example, shape [examples in the batch], float32; the trainer averages.
        All rows of an example are in the same batch.
    decode(logits, features, examples, task) -> list
        One prediction an example, in order: a label name, a list of tag names, an answer text, a
        choice index as text. `logits` is a list with one array a row of `features`; padding is cut
        where PER_TOKEN says that there is any.
    corrupt(batch, tokenizer, task, generator) -> Batch
        Only in formats that draw their own targets (masked_lm). Where it exists, every batch goes
        through it on the CPU before the forward pass; `generator` is saved in the checkpoint, and
        a fixed one gives a dev set the same targets at each look.

masked_lm packs short texts into common rows, so its `Features` count rows, not texts, as examples.

`Features` and `Batch` are in `xstilts.data.features`; tokenizers are fast transformers tokenizers,
and no format changes their state. Text is never control: `</s>` or `<mask>` written in a data file
becomes an unknown sub-word. A task whose `labels` are empty gets them from its data first, by
`with_labels`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xstilts.config.registry import Registry
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.errors import DataError

FORMATS = Registry[Any]("xstilts.tasks.formats", "format", group="xstilts.formats")

__all__ = ["FORMATS", "check_targets", "with_labels"]


def with_labels(task: TaskSpec, examples: Iterable[Example]) -> TaskSpec:
    """`task` with its labels, read from the targets of `examples` when it states none.

    Labels found are sorted by code point, with `O` first where it occurs (it is what an unsure
    head falls back to on a tie). Formats without a set of labels leave the task as it is.

    Raises:
        DataError: The task states no labels and no example has one.
    """
    if task.labels or not getattr(FORMATS.get(task.format), "LABEL_SET", False):
        return task
    found: set[str] = set()
    for example in examples:
        if isinstance(example.target, str):
            found.add(example.target)
        elif example.target is not None:
            found.update(example.target)
    if not found:
        raise DataError(
            f"task '{task.name}' states no labels, and its rows have none",
            hint="List them under `labels:`, or give rows with gold labels.",
        )
    return task.model_copy(update={"labels": sorted(found, key=lambda name: (name != "O", name))})


def check_targets(examples: Iterable[Example]) -> None:
    """Refuse rows without a target; for training rows of a format that is LABELLED.

    Raises:
        DataError: A row has no target; the message names the first one.
    """
    for example in examples:
        if example.target is None:
            raise DataError(
                f"row '{example.id}' has no target",
                where=example.place,
                hint="Training needs gold labels: is this an unlabelled test file?",
            )
