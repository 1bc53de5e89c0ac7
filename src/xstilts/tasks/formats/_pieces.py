"""Texts to sub-words in blocks, and sub-words to rows, without a loop over tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from xstilts.data.arrays import Int32, IntArray, np
from xstilts.data.features import Ragged

Slices = tuple[IntArray, IntArray]
"""Where the slice of each row starts in a flat array, and how long it is."""

BLOCK = 2048
"""Texts or rows handled at once: bounds the memory of the tokenizer's own objects."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Sub-words of a list of texts, without special tokens; equal texts are stored once.

    Attributes:
        ids: Sub-word ids of each different text.
        index: For each text, its place in `ids`.
        more: Per-token integers beside `ids.values`: `start` and `end` (characters of the text,
            half-open) or `word` (number of the pre-token within the text).
    """

    ids: Ragged
    index: IntArray
    more: dict[str, Int32] = field(default_factory=dict)

    @property
    def values(self) -> Int32:
        """All ids, end to end."""
        return self.ids.values

    @property
    def starts(self) -> IntArray:
        """Where each text begins in `values`."""
        return self.ids.offsets[self.index]

    @property
    def lengths(self) -> IntArray:
        """Sub-words of each text."""
        return self.ids.lengths[self.index]


@dataclass(frozen=True, slots=True)
class Template:
    """The special tokens around one text, or around and between two."""

    prefix: Int32
    middle: Int32
    suffix: Int32

    @property
    def size(self) -> int:
        """How many special tokens a row has."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)


@contextmanager
def _plain(tokenizer: Any) -> Iterator[Any]:
    """The tokenizer's backend without truncation and padding, given back as it was."""
    backend = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    try:
        yield backend
    finally:
        if truncation is not None:
            backend.enable_truncation(**truncation)
        if padding is not None:
            backend.enable_padding(**padding)


def tokenise(
    tokenizer: Any, texts: Sequence[str], *, offsets: bool = False, words: bool = False
) -> Pieces:
    """Sub-words of each text on its own, no special tokens added, nothing cut.

    Args:
        tokenizer: A fast transformers tokenizer; its state is left as it was.
        texts: Texts; repeated ones cost nothing.
        offsets: Also give `start` and `end`.
        words: Also give `word`.
    """
    unique: dict[str, int] = {}
    index = np.fromiter((unique.setdefault(t, len(unique)) for t in texts), np.int64, len(texts))
    different = list(unique)
    blocks: list[tuple[Int32, list[int], dict[str, Int32]]] = []
    with _plain(tokenizer) as backend:
        call = backend.encode_batch if offsets or words else backend.encode_batch_fast
        for start in range(0, len(different), BLOCK):
            encodings = call(different[start : start + BLOCK], add_special_tokens=False)
            blocks.append(_flat(encodings, offsets, words))
    lengths = [0, *chain.from_iterable(lengths for _, lengths, _ in blocks)]
    ids = _joined([ids for ids, _, _ in blocks])
    names = [*(("start", "end") if offsets else ()), *(("word",) if words else ())]
    more = {name: _joined([block[name] for _, _, block in blocks]) for name in names}
    ragged = Ragged(_without_control(tokenizer, ids), np.cumsum(lengths, dtype=np.int64))
    return Pieces(ragged, index, more)


def _flat(
    encodings: list[Any], offsets: bool, words: bool
) -> tuple[Int32, list[int], dict[str, Int32]]:
    rows = [encoding.ids for encoding in encodings]
    more: dict[str, Int32] = {}
    if offsets:
        spans = [span for encoding in encodings for span in encoding.offsets]
        pairs = np.array(spans, dtype=np.int32).reshape(-1, 2)
        more |= {"start": pairs[:, 0].copy(), "end": pairs[:, 1].copy()}
    if words:
        numbers = chain.from_iterable(encoding.word_ids for encoding in encodings)
        more["word"] = np.array([-1 if n is None else n for n in numbers], dtype=np.int32)
    return (
        np.fromiter(chain.from_iterable(rows), np.int32),
        [len(row) for row in rows],
        more,
    )


def _joined(parts: list[Int32]) -> Int32:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _without_control(tokenizer: Any, ids: Int32) -> Int32:
    """`ids` with control tokens that stood in the text replaced by the unknown token.

    A `<pad>` inside a row would shift XLM-R's position ids; a `<mask>` or `</s>` would mean it.
    """
    names = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id")
    control = {getattr(tokenizer, name) for name in (*names, "pad_token_id", "mask_token_id")}
    found = np.isin(ids, [number for number in control if number is not None])
    if found.any():
        ids[found] = unknown_id(tokenizer)
    return ids


def unknown_id(tokenizer: Any) -> int:
    """The unknown sub-word, or where a tokenizer knows every byte, that of U+FFFD's last one."""
    if tokenizer.unk_token_id is not None:
        return int(tokenizer.unk_token_id)
    return int(tokenizer.backend_tokenizer.encode("\ufffd", add_special_tokens=False).ids[-1])


def template(tokenizer: Any, *, pair: bool) -> Template:
    """The special tokens that the tokenizer puts around one text, or around a pair.

    Where a tokenizer puts none (those of many language models do not), what ends a text stands
    between the two of a pair, and behind a row that would have no special token at all.
    """
    with _plain(tokenizer) as backend:
        encoding = backend.encode("a", "a" if pair else None)
    sides = encoding.sequence_ids
    ids = np.array(encoding.ids, dtype=np.int32)
    first = [number for number, side in enumerate(sides) if side == 0]
    last = [number for number, side in enumerate(sides) if side == int(pair)]
    middle = ids[first[-1] + 1 : last[0]] if pair else ids[:0]
    around = Template(ids[: first[0]], middle, ids[last[-1] + 1 :])
    if not around.size or (pair and not len(middle)):
        end, outer = _end(tokenizer), around.size > 0
        around = Template(around.prefix, end if pair else middle, around.suffix if outer else end)
    return around


def ended(around: Template, tokenizer: Any) -> Template:
    """The same, with what ends a text behind a row where nothing is: a place for no answer."""
    return around if len(around.suffix) else replace(around, suffix=_end(tokenizer))


def _end(tokenizer: Any) -> Int32:
    """What ends a text."""
    names = ("sep_token_id", "eos_token_id", "bos_token_id")
    known = [number for name in names if (number := getattr(tokenizer, name)) is not None]
    return np.array(known[:1], dtype=np.int32)


def ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """`start, start + 1, …` of each range, end to end."""
    ends = np.cumsum(lengths)
    shift = np.repeat(starts - (ends - lengths), lengths)
    return np.arange(len(shift), dtype=np.int64) + shift


class RowPlan:
    """Rows put together from slices of flat arrays.

    Args:
        parts: For each part of a row, its slice, or a number of fixed tokens.
        rows: How many rows there are.
    """

    def __init__(self, parts: Sequence[Slices | int], rows: int) -> None:
        self.parts = [
            (np.zeros(rows, np.int64), np.full(rows, part, np.int64))
            if isinstance(part, int)
            else part
            for part in parts
        ]
        lengths = sum((length for _, length in self.parts), start=np.zeros(rows, np.int64))
        self.offsets: IntArray = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def fill(self, *sources: Int32 | int) -> Ragged:
        """The rows, each part cut from its source; a number fills the part with that number."""
        values = np.empty(int(self.offsets[-1]), np.int32)
        for block in range(0, len(self.offsets) - 1, BLOCK):
            rows = slice(block, min(block + BLOCK, len(self.offsets) - 1))
            position = self.offsets[rows].copy()
            for (starts, lengths), source in zip(self.parts, sources, strict=True):
                target = ranges(position, lengths[rows])
                if isinstance(source, int):
                    values[target] = source
                else:
                    values[target] = source[ranges(starts[rows], lengths[rows])]
                position += lengths[rows]
        return Ragged(values, self.offsets)


def single_plan(around: Template, slices: Slices) -> RowPlan:
    """Rows of one slice each, in special tokens."""
    return RowPlan([len(around.prefix), slices, len(around.suffix)], len(slices[0]))


def pair_plan(around: Template, first: Slices, second: Slices) -> RowPlan:
    """Rows of two slices each, in special tokens."""
    sizes = (len(around.prefix), len(around.middle), len(around.suffix))
    return RowPlan([sizes[0], first, sizes[1], second, sizes[2]], len(first[0]))
