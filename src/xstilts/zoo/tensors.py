"""What the header of a safetensors file says, checked by its library without reading a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xstilts.errors import IntegrityError

MAX_HEADER = 16 * 2**20


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Type and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Name to what the header says of each tensor.

    Raises:
        IntegrityError: The file is no safetensors file, or its header is not sound: a type is
            unknown, a shape does not fit its bytes, or tensors leave a gap or overlap.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= MAX_HEADER:
            raise ValueError(f"it is no safetensors file (a header of {length} bytes)")
        with safe_open(path, framework="np") as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {
                name: TensorInfo(part.get_dtype(), tuple(part.get_shape()))
                for name, part in parts.items()
            }
    except (OSError, ValueError, SafetensorError) as error:
        raise IntegrityError(
            f"{path.name} is broken: {error}",
            where=str(path),
            hint="Remove the module and train or fetch it again.",
        ) from None
