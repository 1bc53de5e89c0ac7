"""Formats: how rows become tensors, which head reads them, and how scores become predictions.

A format is one file of this package with these names:

    FIELDS: tuple[str, ...]         fields of `Example` that must be there
    NEEDS_HEAD: bool                False for retrieval
    LABELLED: bool                  True when a training row needs a target

    encode(examples, tokenizer, task, max_length) -> Features
        Rows in the order of the examples; a long example may give several rows. Raises `DataError`
        naming `example.place` when a field is missing or a label is not among `task.labels`.
    make_head(hidden_size, task, generator) -> nn.Module
        A new head; its `forward(hidden_BTD, batch) -> Tensor` gives the logits.
    loss(logits, batch) -> Tensor
        The loss of each example, shape [examples in the batch], float32; the trainer averages.
    decode(logits, features, examples, task) -> list
        One prediction an example, in order: a label name, a list of tag names, an answer text, a
        choice index as text. `logits` is a list with one array a row of `features`, padding cut.

`Features` and `Batch` are in `xstilts.data.features`; tokenizers are fast transformers tokenizers.
"""

from __future__ import annotations

from xstilts.registry import Registry

FORMATS = Registry("xstilts.formats", "format")
