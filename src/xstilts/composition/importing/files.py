"""The files of a folder that comes from elsewhere; pickles only in another process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from xstilts.errors import IntegrityError, UsageError
from xstilts.modules.methods import read_tensors

_PICKLE_READER = """
import sys, torch
from safetensors.torch import save_file
state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
assert isinstance(state, dict) and all(isinstance(v, torch.Tensor) for v in state.values())
save_file({str(k): v.detach().clone().contiguous() for k, v in state.items()}, sys.argv[2])
"""


@dataclass
class ForeignFolder:
    """A folder that is being read.

    Attributes:
        scratch: Where converted files go.
        pickles: Whether pickles may be read.
        notes: What was left behind, and why.
    """

    path: Path
    scratch: Path
    pickles: bool
    notes: list[str] = field(default_factory=list)

    def tensors(self, names: tuple[str, ...]) -> dict[str, Tensor] | None:
        """The tensors of the first of the files that is there, or None."""
        for name in names:
            file = self.path / name
            if file.is_file() and not file.is_symlink():
                return read_tensors(
                    file if name.endswith(".safetensors") else self._unpickled(file)
                )
        return None

    def _unpickled(self, file: Path) -> Path:
        if not self.pickles:
            raise UsageError(
                f"{file.name} is a pickle, which can run code",
                hint="--from-pickle reads it in another process that loads nothing but tensors.",
            )
        target = self.scratch / f"{file.stem}.safetensors"
        command = [sys.executable, "-I", "-c", _PICKLE_READER, str(file), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode or not target.is_file():
            last = (done.stderr.strip().splitlines() or ["it stopped"])[-1]
            raise IntegrityError(f"{file.name} holds more than tensors: {last}", where=str(file))
        return target
