"""Tokenised rows, kept under a digest of everything that they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.errors import IntegrityError
from xstilts.files import digest
from xstilts.tasks.formats import FORMATS

VERSION = 1
"""Raised when a format encodes the same rows differently, so that old files are not used."""


def encode(
    examples: Sequence[Example],
    data_digest: str,
    task: TaskSpec,
    tokenizer: Any,
    tokenizer_digest: str,
    max_length: int,
    cache: Path | None,
) -> Features:
    """The features of `examples`, from the cache when they were made before.

    Args:
        examples: Rows of the task.
        data_digest: Of the examples' content.
        task: Names the format and its options.
        tokenizer: A fast transformers tokenizer.
        tokenizer_digest: Of the tokenizer.
        max_length: Sub-words per row.
        cache: Folder to keep them in; None keeps nothing.

    Raises:
        DataError: An example lacks a field, or its label is not among the task's.
    """
    make = FORMATS.get(task.format).encode
    if cache is None:
        features: Features = make(examples, tokenizer, task, max_length)
        return features
    key = digest(
        {
            "version": VERSION,
            "data": data_digest,
            "tokenizer": tokenizer_digest,
            "format": task.format,
            "labels": task.labels,
            "options": task.options,
            "max_length": max_length,
        }
    )
    path = cache / "features" / key[:2] / f"{key}.safetensors"
    if path.is_file():
        return _load(path)
    features = make(examples, tokenizer, task, max_length)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{id(features)}")
    try:
        features.save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return features


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
