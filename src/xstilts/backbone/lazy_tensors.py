"""Tensors by name that need not be in memory: read from a file, or computed, some rows at a time.

A whole encoder may be larger than what is left of the memory. Whatever goes through such weights
once, such as a merge or a copy to disk, asks for rows and lets go of them.
A plain dict of tensors is taken wherever `LazyTensors` is.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from xstilts.errors import IntegrityError, NotFiniteError

PIECE = 2**20
"""Numbers in a piece of a tensor, about; a row is never cut."""

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Info:
    """Type and shape of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements: the product of `shape`."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Size of the elements in bytes."""
        return self.numel * self.dtype.itemsize

    def pieces(self) -> Iterator[tuple[int, int]]:
        """First and last row, exclusive, of pieces that cover the tensor; one for a scalar."""
        rows = self.shape[0] if self.shape else 1
        step = max(1, PIECE // max(1, self.numel // max(1, rows)))
        for start in range(0, rows, step):
            yield start, min(rows, start + step)


class LazyTensors(Mapping[str, Tensor]):
    """Tensors by name; each access reads or computes anew."""

    @abstractmethod
    def info(self, name: str) -> Info:
        """Type and shape, without the numbers; raises `KeyError` where there is no such tensor."""

    @abstractmethod
    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of a tensor; a scalar is its own only row."""

    def __getitem__(self, name: str) -> Tensor:
        info = self.info(name)
        whole = torch.empty(info.shape, dtype=info.dtype)
        target = whole if info.shape else whole.view(1)
        for start, stop in info.pieces():
            target[start:stop] = self.rows(name, start, stop)
        return whole


def info_of(weights: Mapping[str, Tensor], name: str) -> Info:
    """Type and shape of one of some weights."""
    if isinstance(weights, LazyTensors):
        return weights.info(name)
    tensor = weights[name]
    return Info(tensor.dtype, tuple(tensor.shape))


def rows_of(weights: Mapping[str, Tensor], name: str, start: int, stop: int) -> Tensor:
    """Rows of one of some weights, on the CPU."""
    if isinstance(weights, LazyTensors):
        return weights.rows(name, start, stop)
    tensor = weights[name].detach()
    return (tensor if tensor.dim() else tensor.view(1))[start:stop].cpu()


def num_parameters(weights: Mapping[str, Tensor]) -> int:
    """How many numbers some weights hold."""
    return sum(info_of(weights, name).numel for name in weights)


# ------------------------------------------------------------------------------------------ files


class FileWeights(LazyTensors):
    """The tensors of a safetensors file, read when they are asked for.

    Args:
        path: The file; its header is read now.

    Raises:
        IntegrityError: The file is missing, or its header is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with safe_open(path, framework="pt") as file:
                parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                self._info = {
                    name: Info(_TYPES[part.get_dtype()], tuple(part.get_shape()))
                    for name, part in parts.items()
                }
        except FileNotFoundError:
            raise IntegrityError(f"{path.name} is missing", where=str(path.parent)) from None
        except (SafetensorError, KeyError) as error:
            raise IntegrityError(f"{path.name} is broken: {error}", where=str(path)) from None

    def info(self, name: str) -> Info:
        """Type and shape, from the header."""
        return self._info[name]

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows read from the file."""
        try:
            with safe_open(self.path, framework="pt") as file:
                scalar = not self._info[name].shape
                found: Tensor = (
                    file.get_tensor(name).view(1) if scalar else file.get_slice(name)[start:stop]
                )
        except SafetensorError as error:
            what = f"{self.path.name} ends too early, or was changed: {error}"
            raise IntegrityError(what, where=str(self.path)) from None
        if not bool(found.isfinite().all()):
            raise IntegrityError(
                f"tensor '{name}' holds NaN or infinity",
                where=str(self.path),
                hint="Its training diverged, or the file was damaged: train or fetch it again.",
            )
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._info)

    def __len__(self) -> int:
        return len(self._info)


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, some rows at a time; the same bytes as the library would write.

    Raises:
        NotFiniteError: What was computed is no number.
    """
    infos = {name: info_of(weights, name) for name in weights}
    names = sorted(infos, key=lambda name: (-infos[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name in names:
        info = infos[name]
        end = place + info.num_bytes
        header[name] = {
            "dtype": _NAMES[info.dtype],
            "shape": list(info.shape),
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for start, stop in infos[name].pieces():
                piece = rows_of(weights, name, start, stop).contiguous()
                if not bool(piece.isfinite().all()):
                    raise NotFiniteError(f"tensor '{name}' came out as NaN or infinity")
                file.write(piece.view(-1).view(torch.uint8).numpy().data)
