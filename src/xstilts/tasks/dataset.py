"""Rows of a task as a `datasets.Dataset`, plain or tokenised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xstilts.backbone.backbone import Backbone
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.sources import load
from xstilts.tasks.encoding import encode_rows, row_length
from xstilts.tasks.formats import FORMATS, with_labels

if TYPE_CHECKING:
    from datasets import Dataset

_NAMES = {"label": "labels", "start": "start_positions", "end": "end_positions"}
"""Integers of a row to the names that transformers' models have for them."""


def task_dataset(
    task: TaskSpec,
    split: str,
    langs: Sequence[str],
    root: Path | None,
    *,
    backbone: Backbone | None = None,
    **options: Any,
) -> Dataset:
    """Rows of a task, as texts, or as the tokenizer of a backbone cuts them.

    Args:
        task: Whose rows.
        split: Such as `train`.
        langs: Languages; the source language when empty.
        root: Data folder; None where the hub serves.
        backbone: Has the tokenizer; None for texts.
        options: `limit`, `seed` and `offline` of `xstilts.data.sources.load`.

    Raises:
        NotFoundError: There is no such language or split, or no data.
        DataError: A row is broken; file and row are named.
    """
    codes = langs or (task.source_language,)
    rows = [row for code in codes for row in load(task, split, code, root, **options)]
    if backbone is None:
        return dataset_of(rows)
    form, length = FORMATS.get(task.format), row_length(task, backbone)
    features = encode_rows(rows, with_labels(task, rows), backbone, length)
    several = len(features) > features.num_examples and not form.PER_TOKEN
    return tokenised_dataset(rows, features, grouped=several)


def dataset_of(examples: Sequence[Example]) -> Dataset:
    """One row an example: `id`, `language`, the fields of its format, and `target`."""
    from datasets import Dataset

    rows = [
        {"id": e.id, "language": e.language, **_plain(dict(e.fields)), "target": _plain(e.target)}
        for e in examples
    ]
    return Dataset.from_list(rows)


def tokenised_dataset(
    examples: Sequence[Example], features: Features, *, grouped: bool = False
) -> Dataset:
    """One row an encoder run: `input_ids`, `attention_mask`, and labels as transformers has them.

    Args:
        examples: What was tokenised.
        features: Their rows; `example` then says which example a row belongs to.
        grouped: One row an example instead, with a list of runs in it: the choices.
    """
    from datasets import Dataset

    rows = []
    for number in range(len(features)):
        ids = features.input_ids[number].tolist()
        row: dict[str, Any] = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        for name, values in features.scalars.items():
            if name in _NAMES:
                row[_NAMES[name]] = int(values[number])
        if "labels" in features.tokens:
            row["labels"] = features.tokens["labels"][number].tolist()
        at = int(features.example[number])
        rows.append({**row, "example": at, "language": examples[at].language})
    if not grouped:
        return Dataset.from_list(rows)
    bounds = np.searchsorted(features.example, np.arange(features.num_examples + 1)).tolist()
    runs = [rows[start:end] for start, end in pairwise(bounds)]
    listed = ("input_ids", "attention_mask")
    return Dataset.from_list([{**r[0], **{k: [run[k] for run in r] for k in listed}} for r in runs])


def _plain(value: Any) -> Any:
    """Tuples as lists, answers as mappings."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
