"""Tokenised rows, stored as flat arrays: small, fast to load, free of pickle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xstilts.data.arrays import IntArray, NDArray, np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of different length in one flat array.

    Attributes:
        values: All rows, end to end, int32.
        offsets: Start of each row in `values`, with the total length last; int64, rows + 1.
    """

    values: NDArray[np.int32]
    offsets: IntArray

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | NDArray[np.int32]]) -> Ragged:
        """Pack a sequence of integer rows."""
        parts = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = np.array([0, *(len(part) for part in parts)], dtype=np.int64)
        values = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        return cls(values, np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> IntArray:
        """Length of each row."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Features:
    """The encoder runs ("rows") of a list of examples.

    Attributes:
        input_ids: Sub-word ids of each row, special tokens included, no padding.
        example: For each row, the index of its example; never decreasing.
        tokens: Further per-token integers of each row, as long as its `input_ids` (`labels`,
            `word`, `start_char`, …); padded with -100 in a batch.
        scalars: Further integers of each row (`label`, `start`, `end`, …).
        num_examples: How many examples there are (an example always has at least one row).
        cut: How many of them lost sub-words because they were too long.
    """

    input_ids: Ragged
    example: IntArray
    num_examples: int
    tokens: Mapping[str, Ragged] = field(default_factory=dict)
    scalars: Mapping[str, IntArray] = field(default_factory=dict)
    cut: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> IntArray:
        """Sub-words of each row, special tokens included."""
        return self.input_ids.lengths

    def rows_of(self, examples: Sequence[int] | IntArray) -> IntArray:
        """The rows of the given examples, grouped by example in the order given."""
        starts = np.searchsorted(self.example, examples, side="left")
        ends = np.searchsorted(self.example, examples, side="right")
        parts = [np.arange(s, e) for s, e in zip(starts, ends, strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def take(self, rows: Sequence[int] | IntArray) -> Features:
        """The sub-words of the given rows, each row an example of its own."""
        ids = Ragged.of([self.input_ids[int(row)] for row in rows])
        return Features(ids, np.arange(len(rows), dtype=np.int64), len(rows))

    def save(self, path: Path) -> None:
        """Write everything to one safetensors file."""
        from safetensors.numpy import save_file

        arrays: dict[str, np.ndarray] = {
            "input_ids.values": self.input_ids.values,
            "input_ids.offsets": self.input_ids.offsets,
            "example": self.example,
            "num_examples": np.array([self.num_examples], dtype=np.int64),
            "cut": np.array([self.cut], dtype=np.int64),
        }
        for name, ragged in self.tokens.items():
            arrays[f"tokens.{name}"] = ragged.values
        for name, values in self.scalars.items():
            arrays[f"scalars.{name}"] = values
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> Features:
        """Read what `save` wrote.

        Raises:
            ValueError: Its arrays do not belong together.
        """
        from safetensors.numpy import load_file

        arrays = load_file(path)
        offsets = arrays["input_ids.offsets"]
        tokens = {
            name.removeprefix("tokens."): Ragged(values, offsets)
            for name, values in arrays.items()
            if name.startswith("tokens.")
        }
        scalars = {
            name.removeprefix("scalars."): values
            for name, values in arrays.items()
            if name.startswith("scalars.")
        }
        ids = Ragged(arrays["input_ids.values"], offsets)
        count, cut = int(arrays["num_examples"][0]), int(arrays["cut"][0])
        example = arrays["example"]
        whole = (
            len(offsets) > 0
            and offsets[0] == 0
            and bool((np.diff(offsets) >= 0).all())
            and all(len(row.values) == offsets[-1] for row in (ids, *tokens.values()))
            and all(len(value) == len(offsets) - 1 for value in (example, *scalars.values()))
            and cut >= 0
            and bool(((example >= 0) & (example < count)).all())
        )
        if not whole:
            raise ValueError("its arrays do not belong together")
        return cls(ids, example, count, tokens, scalars, cut)


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded rows. Shapes: B rows, T the longest row's sub-words, E examples in the batch.

    Attributes:
        input_ids: [B, T], padded with the tokenizer's pad id.
        attention_mask: [B, T], 1 for real sub-words.
        example: [B], index within this batch of each row's example, 0..E-1.
        rows: [B], row numbers in the `Features` it was cut from.
        num_examples: E.
        tokens: Name to [B, T], padded with -100.
        scalars: Name to [B].
    """

    input_ids: Tensor
    attention_mask: Tensor
    example: Tensor
    rows: IntArray
    num_examples: int
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    scalars: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """Sub-words that are not padding."""
        return int(self.attention_mask.sum())

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(
            self.input_ids.to(device, non_blocking=True),
            self.attention_mask.to(device, non_blocking=True),
            self.example.to(device, non_blocking=True),
            self.rows,
            self.num_examples,
            {name: t.to(device, non_blocking=True) for name, t in self.tokens.items()},
            {name: t.to(device, non_blocking=True) for name, t in self.scalars.items()},
        )


def collate(features: Features, rows: IntArray, pad_id: int) -> Batch:
    """Pad the given rows to the longest of them; rows of one example must be adjacent."""
    import torch

    width = int(features.lengths[rows].max())
    example = features.example[rows]
    local = np.cumsum(np.concatenate([[0], (np.diff(example) != 0).astype(np.int64)]))
    ids = _padded(features.input_ids, rows, width, pad_id)
    lengths = torch.from_numpy(features.lengths[rows])
    mask = (torch.arange(width)[None, :] < lengths[:, None]).long()
    return Batch(
        ids,
        mask,
        torch.from_numpy(local),
        rows,
        int(local[-1]) + 1,
        {name: _padded(ragged, rows, width, -100) for name, ragged in features.tokens.items()},
        {name: torch.from_numpy(values[rows]) for name, values in features.scalars.items()},
    )


def _padded(ragged: Ragged, rows: IntArray, width: int, fill: int) -> Tensor:
    import torch

    padded = np.full((len(rows), width), fill, dtype=np.int64)
    for position, row in enumerate(rows):
        values = ragged[int(row)]
        padded[position, : len(values)] = values
    return torch.from_numpy(padded)
