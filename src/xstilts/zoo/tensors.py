"""The header of a safetensors file, checked without reading a tensor.

A file is 8 bytes with the header's length, the header as JSON, and the tensors' bytes. A header is
sound when every type is known, every shape fits its bytes, and the tensors cover the rest of the
file without a gap or an overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.errors import IntegrityError
from xstilts.zoo.strict_json import parse_json

MAX_HEADER = 16 * 2**20
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Type, shape and place of a tensor; `start` and `end` count from the first tensor's byte."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Name to what the header says of each tensor.

    Raises:
        IntegrityError: The file is no safetensors file, or its header is not sound.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            rest = path.stat().st_size - 8 - length
            if not 2 <= length <= MAX_HEADER or rest < 0:
                raise ValueError(f"it is no safetensors file (a header of {length} bytes)")
            header = parse_json(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")  # noqa: TRY004  (caught below)
        return _tensors(header, rest)
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{path.name} is broken: {_short(error)}",
            where=str(path),
            hint="Remove the module and train or fetch it again.",
        ) from None


def _short(error: Exception) -> str:
    return "its header is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _tensors(header: dict[str, Any], size: int) -> dict[str, TensorInfo]:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata is not text")
    tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != end:
            raise ValueError(f"tensor '{name}' starts at byte {tensor.start}, not {end}")
        end = tensor.end
    if end != size:
        raise ValueError(f"its tensors take {end} bytes of {size}")
    return tensors


def _tensor(name: str, entry: Any) -> TensorInfo:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor '{name}' has no type, shape and place")
    dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in _BITS:
        raise ValueError(f"tensor '{name}' has the unknown type {dtype!r}")
    for numbers in (shape, place):
        if not isinstance(numbers, list) or not all(
            type(number) is int and 0 <= number < 2**48 for number in numbers
        ):
            raise ValueError(f"tensor '{name}' has an impossible shape or place")
    if len(place) != 2 or place[1] - place[0] != math.prod(shape) * _BITS[dtype] // 8:
        raise ValueError(f"tensor '{name}' does not fit its bytes")
    return TensorInfo(dtype, tuple(shape), place[0], place[1])
