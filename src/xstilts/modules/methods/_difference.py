"""A fine-tuned encoder as what changed in it, exactly.

Each tensor is cut into pieces of whole rows; the bits of a piece are combined (XOR) with those of
the backbone, ordered by byte (signs and exponents, which rarely change, first), and deflated. What
training left alone, such as the embeddings of unseen sub-words, takes almost nothing. The checksum
of every piece of the result is kept, so that another backbone is noticed.

    difference.safetensors    <name>.xor: the deflated pieces, one after the other (bytes)
    difference.json           the type of each tensor, rows a piece, ends and checksums of pieces
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from xstilts.backbone.lazy_tensors import (
    FileWeights,
    Info,
    LazyTensors,
    info_of,
    rows_of,
    write_weights,
)
from xstilts.config.specs import Spec
from xstilts.errors import BackboneMismatchError, IntegrityError, LaterVersionError, UsageError
from xstilts.files import write_json

WEIGHTS, CONFIG = "difference.safetensors", "difference.json"
SCHEMA = "xstilts.difference/1"
_LEVEL = 1
_ENDING = ".xor"


class _Kept(Spec):
    """What is kept of one tensor.

    Attributes:
        rows: Of each piece; the last may have fewer.
        ends: Of the deflated pieces, in bytes; none where nothing changed.
        checks: CRC-32 of the pieces of the result; one of the whole where nothing changed.
    """

    rows: int = Field(gt=0)
    ends: list[int]
    checks: list[int]


class _Config(Spec):
    schema_name: str = Field(alias="schema")
    tensors: dict[str, _Kept]


def write(folder: Path, weights: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> None:
    """Write what differs between `weights` and `base`.

    Raises:
        UsageError: They have not the same names, shapes and types.
    """
    if weights.keys() != base.keys() or any(info_of(weights, n) != info_of(base, n) for n in base):
        raise UsageError(
            "the encoder has not the tensors of the backbone, so there is no difference to store",
            hint="Keep it whole, or name the backbone that it was trained from.",
        )
    kept: dict[str, _Kept] = {}
    changed: dict[str, Tensor] = {}
    for name in weights:
        kept[name], data = _deflated(weights, base, name)
        if data:
            changed[name + _ENDING] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    write_weights(folder / WEIGHTS, changed)
    tensors = {name: entry.model_dump() for name, entry in kept.items()}
    write_json(folder / CONFIG, {"schema": SCHEMA, "tensors": tensors})


def _deflated(
    weights: Mapping[str, Tensor], base: Mapping[str, Tensor], name: str
) -> tuple[_Kept, bytes]:
    info = info_of(weights, name)
    spans = list(info.pieces())
    data, ends, checks, same = bytearray(), [], [], True
    for start, stop in spans:
        new = _bytes(rows_of(weights, name, start, stop))
        mixed = new ^ _bytes(rows_of(base, name, start, stop))
        same = same and not bool(mixed.any())
        planes = mixed.view(-1, info.dtype.itemsize).T.contiguous()
        data += zlib.compress(planes.numpy().tobytes(), _LEVEL)
        ends.append(len(data))
        checks.append(zlib.crc32(new.numpy().tobytes()))
    rows = spans[0][1] - spans[0][0] if spans else 1
    kept = _Kept(rows=max(1, rows), ends=[] if same else ends, checks=checks)
    return kept, b"" if same else bytes(data)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def read(folder: Path, base: Mapping[str, Tensor]) -> LazyTensors:
    """The weights whose difference from `base` is in a folder; nothing is computed yet.

    Raises:
        IntegrityError: The folder is incomplete, or does not hold what it says.
        LaterVersionError: A later version wrote it.
        BackboneMismatchError: `base` has other tensors.
    """
    try:
        text = (folder / CONFIG).read_bytes()
        config = _Config.model_validate_json(text)
    except FileNotFoundError:
        raise IntegrityError(f"{CONFIG} is missing", where=str(folder)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise IntegrityError(f"{CONFIG} is broken: {first['msg']}", where=str(folder)) from None
    if config.schema_name != SCHEMA:
        raise LaterVersionError(
            f"the difference is of schema '{config.schema_name}'", where=str(folder)
        )
    if config.tensors.keys() != base.keys():
        raise _other_backbone(folder)
    return _Restored(folder, FileWeights(folder / WEIGHTS), config.tensors, base)


def _other_backbone(folder: Path) -> BackboneMismatchError:
    return BackboneMismatchError(
        "the module is stored as a difference from another backbone",
        where=str(folder),
        hint="Only the backbone that it was made on gives it back: see `xstilts zoo show`.",
    )


class _Restored(LazyTensors):
    """The encoder that a difference and its backbone make."""

    def __init__(
        self,
        folder: Path,
        changed: FileWeights,
        kept: Mapping[str, _Kept],
        base: Mapping[str, Tensor],
    ) -> None:
        self.folder, self.changed, self.kept, self.base = folder, changed, kept, base

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def info(self, name: str) -> Info:
        return info_of(self.base, name)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        step = self.kept[name].rows
        first = start // step
        pieces = [self._piece(name, number) for number in range(first, -(-stop // step))]
        whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        return whole[start - first * step : stop - first * step]

    def _piece(self, name: str, number: int) -> Tensor:
        """One piece, checked."""
        kept, info = self.kept[name], self.info(name)
        total = info.shape[0] if info.shape else 1
        start = number * kept.rows
        old = rows_of(self.base, name, start, min(total, start + kept.rows))
        new = _bytes(old)
        if kept.ends:
            new = new ^ self._inflated(name, number, new.numel(), info.dtype.itemsize)
        if number >= len(kept.checks) or zlib.crc32(new.numpy().tobytes()) != kept.checks[number]:
            raise _other_backbone(self.folder)
        return new.view(info.dtype).view(old.shape)

    def _inflated(self, name: str, number: int, size: int, width: int) -> Tensor:
        """`size` bytes of one piece's difference, back in the order of numbers."""
        ends = self.kept[name].ends
        begin, end = (ends[number - 1] if number else 0), ends[number] if number < len(ends) else 0
        key = name + _ENDING
        if key not in self.changed or not 0 <= begin < end <= self.changed.info(key).numel:
            raise IntegrityError(f"{WEIGHTS} lacks a piece of '{name}'", where=str(self.folder))
        packed = self.changed.rows(key, begin, end).numpy().tobytes()
        unpacker = zlib.decompressobj()
        try:
            data = bytearray(unpacker.decompress(packed, size))
        except zlib.error as error:
            raise IntegrityError(f"'{name}': {error}", where=str(self.folder)) from None
        if len(data) != size:
            raise IntegrityError(f"a piece of '{name}' is too short", where=str(self.folder))
        planes = torch.frombuffer(data, dtype=torch.uint8).view(width, -1)
        return planes.T.contiguous().view(-1)
