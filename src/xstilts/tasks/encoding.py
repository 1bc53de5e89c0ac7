"""Tokenised rows, kept under a digest of everything that they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.backbone.backbone import Backbone
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.sources import data_digest
from xstilts.errors import IntegrityError
from xstilts.files import digest
from xstilts.tasks.formats import FORMATS

VERSION = 2
"""Raised when a format encodes the same rows differently, so that old files are not used."""


def encode(
    examples: Sequence[Example],
    task: TaskSpec,
    backbone: Backbone,
    cache: Path | None,
    *,
    max_length: int = 0,
    known_digest: str = "",
) -> Features:
    """The features of `examples`, from the cache when they were made before.

    Args:
        examples: Rows of the task.
        task: Names the format and its options.
        backbone: Its tokenizer splits the rows; they are never longer than it can read.
        cache: Folder to keep them in; None keeps nothing.
        max_length: Sub-words per row; 0 for the task's own.
        known_digest: Of the examples' content, where it is there already.

    Raises:
        DataError: An example lacks a field, or its label is not among the task's.
    """
    make = FORMATS.get(task.format).encode
    length = row_length(task, backbone, max_length)
    if cache is None:
        features: Features = make(examples, backbone.tokenizer, task, length)
        return features
    key = digest(
        {
            "version": VERSION,
            "data": known_digest or data_digest(examples),
            "tokenizer": backbone.identity.tokenizer_sha256,
            "format": task.format,
            "labels": task.labels,
            "options": task.options,
            "max_length": length,
        }
    )
    path = cache / "features" / key[:2] / f"{key}.safetensors"
    if path.is_file():
        return _load(path)
    features = make(examples, backbone.tokenizer, task, length)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{id(features)}")
    try:
        features.save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return features


def row_length(task: TaskSpec, backbone: Backbone, max_length: int = 0) -> int:
    """Sub-words at which a row is cut: `max_length` or the task's; the backbone's at most."""
    return min(max_length or task.max_length, backbone.max_length)


def _load(path: Path) -> Features:
    from safetensors import SafetensorError

    try:
        return Features.load(path)
    except (SafetensorError, KeyError) as error:
        raise IntegrityError(
            f"a cached file of tokenised rows is broken: {error}",
            where=str(path),
            hint="Remove it; it is made again.",
        ) from None


def too_long(task: TaskSpec, backbone: Backbone, max_length: int = 0) -> str:
    """What to say of rows that are cut before they are as long as asked; empty where none is."""
    asked, reads = max_length or task.max_length, backbone.max_length
    if asked <= reads:
        return ""
    name = backbone.identity.name
    return f"{task.name}: max_length is {asked:,}, and {name} reads at most {reads:,} sub-words"
