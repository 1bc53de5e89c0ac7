"""Heads in a module's folder: their tensors, and what the manifest says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from xstilts.backbone.backbone import Backbone
from xstilts.composition.resolve import head_records, head_task
from xstilts.composition.task_model import Head, head_tensors, restore_head
from xstilts.modules.methods import read_tensors
from xstilts.zoo import Entry
from xstilts.zoo.manifest import HEAD, HeadRecord

POOLING = "pooling"
"""Key in a head's file of what it reads of a text, where that is not the first token."""


def save_heads(heads: Mapping[str, Head], folder: Path) -> list[HeadRecord]:
    """Write the tensors of heads; a single one is in `head.safetensors`."""
    records = []
    for name, head in heads.items():
        file = HEAD if len(heads) == 1 else f"head-{name}.safetensors"
        pooling = getattr(head.module, "pooling", "cls")
        save_file(
            head_tensors(head), folder / file, None if pooling == "cls" else {POOLING: pooling}
        )
        task = head.task
        records.append(
            HeadRecord(
                file=file,
                task=task.name,
                format=task.format,
                family=task.head_family,
                labels=task.labels,
            )
        )
    return records


def load_heads(entry: Entry, backbone: Backbone) -> tuple[Head, ...]:
    """The heads kept with a module."""
    return tuple(
        _load_head(record, entry.folder / record.file, backbone)
        for record in head_records(entry.manifest)
        if (entry.folder / record.file).is_file()
    )


def _load_head(record: HeadRecord, path: Path, backbone: Backbone) -> Head:
    head = restore_head(head_task(record), backbone, read_tensors(path))
    with safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get(POOLING, "cls")
    if hasattr(head.module, "pooling"):
        module: Any = head.module
        module.pooling = said
    return head
