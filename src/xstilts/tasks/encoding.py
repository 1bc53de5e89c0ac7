"""Tokenised rows, kept under a digest of everything that they depend on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xstilts.backbone.known import KnownBackbone
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features, Ragged
from xstilts.data.sources import data_digest
from xstilts.errors import UsageError
from xstilts.files import atomic_file, digest
from xstilts.tasks.formats import FORMATS

if TYPE_CHECKING:  # rows are known without torch
    from xstilts.backbone.architectures import LanguageToken

VERSION = 3
"""Raised when a format encodes the same rows differently, so that old files are not used."""


def encode(
    examples: Sequence[Example],
    task: TaskSpec,
    backbone: KnownBackbone,
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
    length = row_length(task, backbone, max_length)
    if cache is None:
        return encode_rows(examples, task, backbone, length)
    key = digest(
        {
            "version": VERSION,
            "data": known_digest or rows_digest(examples, backbone),
            "tokenizer": [backbone.identity.tokenizer_sha256, backbone.tokenization],
            "format": task.format,
            "labels": task.labels,
            "options": task.options,
            "max_length": length,
        }
    )
    path = cache / "features" / key[:2] / f"{key}.safetensors"
    kept = _load(path) if path.is_file() else None
    if kept is not None:
        return kept
    features = encode_rows(examples, task, backbone, length)
    with atomic_file(path) as temporary:
        features.save(temporary)
    return features


def encode_rows(
    examples: Sequence[Example], task: TaskSpec, backbone: KnownBackbone, length: int
) -> Features:
    """The features of `examples`, made anew, with their language in them where a backbone asks.

    Args:
        examples: Rows of the task.
        task: Names the format and its options.
        backbone: Its tokenizer splits the rows.
        length: Sub-words per row.

    Raises:
        DataError: An example lacks a field, or its label is not among the task's.
        UsageError: The backbone cannot read a language.
    """
    make = FORMATS.get(task.format).encode
    tokens = language_tokens(examples, backbone)
    places: dict[int, list[int]] = {}  # a row is of one language, also where it holds several texts
    for place, example in enumerate(examples):
        places.setdefault(tokens.get(example.language, -1), []).append(place)
    if not tokens:
        features: Features = make(examples, backbone.tokenizer, task, length)
        return features
    parts: list[Features] = []
    for token, chosen in places.items():
        part = make([examples[place] for place in chosen], backbone.tokenizer, task, length)
        part.input_ids.values[part.input_ids.offsets[:-1]] = token
        parts.append(part)
    return _joined(parts, list(places.values()))


def _joined(parts: Sequence[Features], places: Sequence[Sequence[int]]) -> Features:
    """Features of some examples each as those of all, in the order of the examples.

    Where rows are not those of examples, such as of running text, one part follows the other.
    """
    if len(parts) == 1:
        return parts[0]
    counts = [part.num_examples for part in parts]
    if counts == [len(chosen) for chosen in places]:
        numbers = [np.array(chosen)[p.example] for p, chosen in zip(parts, places, strict=True)]
    else:
        starts = np.cumsum([0, *counts[:-1]])
        numbers = [p.example + start for p, start in zip(parts, starts, strict=True)]
    example = np.concatenate(numbers).astype(np.int64)
    order = np.argsort(example, kind="stable")

    def ragged(rows: Sequence[Ragged]) -> Ragged:
        every = [row[number] for row in rows for number in range(len(row))]
        return Ragged.of([every[place] for place in order])

    return Features(
        ragged([part.input_ids for part in parts]),
        example[order],
        sum(counts),
        {name: ragged([part.tokens[name] for part in parts]) for name in parts[0].tokens},
        {
            name: np.concatenate([part.scalars[name] for part in parts])[order]
            for name in parts[0].scalars
        },
        sum(part.cut for part in parts),
    )


def language_tokens(examples: Sequence[Example], backbone: KnownBackbone) -> dict[str, int]:
    """Language of some rows to the token that says it; empty where a backbone asks for none.

    Raises:
        UsageError: The backbone cannot read one of the languages.
    """
    codes = dict.fromkeys(example.language for example in examples)
    found = ((code, _language_token(backbone, code)) for code in codes)
    return {code: token.number for code, token in found if token}


def unreadable(languages: Iterable[str], backbone: KnownBackbone) -> dict[str, str]:
    """The languages that a backbone cannot read, to why."""
    found = {}
    for code in languages:
        try:
            _language_token(backbone, code)
        except UsageError as error:
            found[code] = error.what
    return found


def _language_token(backbone: KnownBackbone, code: str) -> LanguageToken | None:
    if not backbone.asks_language:
        return None
    loaded = backbone.loaded
    return loaded.architecture.language_token(loaded.encoder.config, code)


def rows_digest(examples: Sequence[Example], backbone: KnownBackbone) -> str:
    """The digest of the rows' content, and of the tokens that say their languages."""
    content, tokens = data_digest(examples), language_tokens(examples, backbone)
    return digest({"rows": content, "languages": tokens}) if tokens else content


def row_length(task: TaskSpec, backbone: KnownBackbone, max_length: int = 0) -> int:
    """Sub-words at which a row is cut: `max_length` or the task's; the backbone's at most."""
    return min(max_length or task.max_length, backbone.max_length)


def _load(path: Path) -> Features | None:
    """What is in a cached file; None, after a word, where that is damaged."""
    from safetensors import SafetensorError

    try:
        return Features.load(path)
    except (SafetensorError, ValueError, KeyError, IndexError, OSError) as error:
        print(f"tokenised again, {path.name} is damaged: {error}", file=sys.stderr)
        return None


def remarks(
    task: TaskSpec, backbone: KnownBackbone, languages: Iterable[str], max_length: int = 0
) -> list[str]:
    """What to say of how a backbone reads rows of a task: cut early, or as another language's.

    Raises:
        UsageError: The backbone cannot read one of the languages.
    """
    name, found = backbone.identity.name, []
    asked, reads = max_length or task.max_length, backbone.max_length
    if asked > reads:
        found.append(
            f"{task.name}: max_length is {asked:,}, and {name} reads at most {reads:,} sub-words"
        )
    for code in dict.fromkeys(languages):
        token = _language_token(backbone, code)
        if token and token.remark:
            found.append(f"{name}: {token.remark}")
    return found
