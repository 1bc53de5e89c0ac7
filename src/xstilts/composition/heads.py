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
from xstilts.config.specs import TaskSpec
from xstilts.errors import UsageError
from xstilts.modules.methods import read_tensors
from xstilts.zoo import Entry
from xstilts.zoo.manifest import FILE_NAME, HEAD, HeadRecord

POOLING = "pooling"
"""Key in a head's file of what it reads of a text, where that is not the first token."""


def save_heads(heads: Mapping[str, Head], folder: Path) -> list[HeadRecord]:
    """Write the tensors of heads; a single one is in `head.safetensors`."""
    records = []
    for name, head in heads.items():
        file = _file(name, len(heads))
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


def _file(name: str, count: int) -> str:
    """The file of one of `count` heads."""
    return HEAD if count == 1 else f"head-{name}.safetensors"


def require_files(heads: Mapping[str, TaskSpec]) -> None:
    """Refuse heads that could not be kept beside each other.

    Args:
        heads: Their names to their tasks.

    Raises:
        UsageError: A name cannot be part of a file's, or two differ only in upper and lower case.
    """
    seen: dict[str, str] = {}
    for name, task in heads.items():
        file = _file(name, len(heads))
        if not FILE_NAME.fullmatch(file):
            raise UsageError(
                f"the head '{name}' of task {task.name} cannot name a file",
                hint="Rename the task's YAML, or its `family`: ASCII letters, digits, - _ and "
                "dots, not too many.",
            )
        other = seen.setdefault(file.lower(), name)
        if other != name:
            raise UsageError(
                f"the heads '{other}' and '{name}' would lie in one file",
                hint=f"Rename the YAML of task {task.name}, or its `family`.",
            )


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
