"""Formats: how rows become tensors, which head reads them, and how scores become predictions.

A format is one file of this package, or an entry point of the group `xstilts.formats`; its name is
the one in task YAMLs. `Format` states what every format has, `TrainedFormat` and `PredictingFormat`
what those have besides that have a head, and whose head gives predictions. All that other rooms
must know of a format is asked of it. Rooms below see their own part (`data.formats`,
`zoo.head_formats`); so that they stay light, a format's file imports torch inside functions.

A format that draws its own targets (masked_lm) also has

    corrupt(batch, tokenizer, task, generator) -> Batch
        Every batch goes through it on the CPU before the forward pass; `generator` is saved in the
        checkpoint, and a fixed one gives a dev set the same targets each time.

masked_lm packs short texts into common rows, so its `Features` count rows, not texts, as examples.

`Features` and `Batch` are in `xstilts.data.features`; tokenizers are fast transformers tokenizers,
and no format changes their state. Text is never control: `</s>` or `<mask>` written in a data file
becomes an unknown sub-word. A task whose `labels` are empty gets them from its data first, by
`with_labels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from xstilts.config.registry import Registry, optional
from xstilts.config.specs import Spec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Batch, Features
from xstilts.data.formats import RowFormat
from xstilts.errors import DataError
from xstilts.tasks.formats._fields import HeadOptions
from xstilts.tasks.layouts import LINES, Layout
from xstilts.zoo.head_formats import HeadFormat

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn


class Format(RowFormat, HeadFormat, Protocol):
    """What every format has; what has a value or a body may be left out.

    Attributes:
        NEEDS_HEAD: False where sentences are only embedded: then there is no `make_head`, `loss`.
        PER_TOKEN: True when logits have a value a sub-word ([B, T, …]).
        PREDICTS: Whether there is a `decode`.
        GIVES: What a metric gets, one of `Metric.TAKES`, or `vectors` for one with a `SEARCH`; a
            task's YAML with another metric is refused. Empty where any may do.
        BOTH_SIDES: Whether its targets ask for what stands after a token, which a causal backbone
            does not see.
        Options: What a task's `options` may hold.
        LAYOUT: Of prediction and label files; None where predictions are not exchanged as files.
        HF_NAMES: The head's modules (or parameters) to their names in `HF_CLASS`, `{base}` being
            the encoder's; of RoBERTa's kind, and `HF_NAMES_BERT` of BERT's where those differ.
        CORRUPTS: Whether `corrupt` draws what is predicted, at each step anew.
        ADAPTERS_TYPE: What the adapters library calls such a head; empty where it has none.
        ADAPTERS_HEAD: Config of its flexible head of that type; None where none can be written.
    """

    NEEDS_HEAD: bool
    PER_TOKEN: bool
    PREDICTS: bool
    GIVES: str = ""
    BOTH_SIDES: bool = False
    Options: type[Spec] = HeadOptions
    LAYOUT: Layout | None = LINES
    HF_NAMES: Mapping[str, str] = {}
    HF_NAMES_BERT: Mapping[str, str] = {}
    CORRUPTS: bool = False
    ADAPTERS_TYPE: str = ""
    ADAPTERS_HEAD: Mapping[str, Any] | None = None

    def encode(
        self, examples: Sequence[Example], tokenizer: Any, task: TaskSpec, max_length: int
    ) -> Features:
        """Rows in the order of the examples; a long example may give several rows.

        Raises:
            DataError: A field is missing, or a label is not among `task.labels`; the message names
                `example.place`.
            ConfigError: `task.options` holds something that the format does not know.
        """
        ...

    @optional
    def input_fields(self, row: str | Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
        """The fields of one input of `predict`: a text, texts in the fields' order, or by name.

        Raises:
            DataError: There are more texts than fields.
        """
        names = (*self.FIELDS, *self.OPTIONAL)
        if isinstance(row, Mapping):
            return {name: row[name] for name in names if name in row}
        texts = [row] if isinstance(row, str) else list(row)
        if len(texts) > len(names):
            raise DataError(f"an input of {len(texts)} texts", hint=f"Fields: {', '.join(names)}.")
        return dict(zip(names, texts, strict=False))

    @optional
    def probabilities(
        self, logits: Sequence[NDArray[np.float32]], features: Features, task: TaskSpec
    ) -> Iterator[dict[str, float]]:
        """Of each example, the probability of each label or choice; empty where there are none."""
        del logits, task
        yield from ({} for _ in range(features.num_examples))

    @optional
    def record(self, value: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A prediction as plain JSON values under `prediction`, and what explains it beside it."""
        del fields
        return {"prediction": value}

    @optional
    def transformers_logits(self, model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What a model of `HF_CLASS` says of rows [B, T], in the shape of our head's logits."""
        logits: Tensor = model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits

    @optional
    def corrupt(
        self, batch: Batch, tokenizer: Any, task: TaskSpec, generator: torch.Generator
    ) -> Batch:
        """Whole rows with inputs and targets drawn for one step, where the format `CORRUPTS`."""
        del tokenizer, task, generator
        return batch

    @optional
    def classes(self, hidden_BTD: Tensor, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """Vectors [N, D] and classes [N] that the head has to tell apart; None where unknown."""
        del hidden_BTD, batch
        return None


class TrainedFormat(Format, Protocol):
    """What a format has whose tasks are trained (`NEEDS_HEAD`)."""

    def make_head(
        self,
        hidden_size: int,
        task: TaskSpec,
        generator: torch.Generator,
        *,
        embeddings: nn.Module | None = None,
    ) -> nn.Module:
        """A new head; its `forward(hidden_BTD, batch) -> Tensor` gives the logits.

        `embeddings` is the backbone's word embedding module, for a head that is tied to it; others
        ignore it. Nothing is drawn from a global random state.
        """
        ...

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of each example, [examples in the batch], float32; the trainer averages.

        All rows of an example are in the same batch.
        """
        ...


class PredictingFormat(TrainedFormat, Protocol):
    """What a format has whose head gives predictions (`PREDICTS`)."""

    def decode(
        self,
        logits: Sequence[NDArray[np.float32]],
        features: Features,
        examples: Sequence[Example],
        task: TaskSpec,
    ) -> list[Any]:
        """One prediction an example, in order: a label name, tag names, an answer, a choice.

        `logits` has one array a row of `features`; padding is cut where `PER_TOKEN`.
        """
        ...


FORMATS = Registry[PredictingFormat](
    "xstilts.tasks.formats",
    "format",
    (PredictingFormat, TrainedFormat, Format),
    "xstilts.formats",
)


def with_labels(task: TaskSpec, examples: Iterable[Example]) -> TaskSpec:
    """`task` with its labels, read from the targets of `examples` when it states none.

    Labels found are sorted by code point, with `O` first where it occurs (it is what an unsure
    head falls back to on a tie). Formats without a set of labels leave the task as it is.

    Raises:
        DataError: The task states no labels and no example has one.
    """
    if task.labels or not FORMATS.get(task.format).LABEL_SET:
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
