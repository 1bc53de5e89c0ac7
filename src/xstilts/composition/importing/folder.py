"""A folder of another library: its files, pickles only in another process, and what it becomes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from torch import Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.composition.task_model import Head, restore_head
from xstilts.config.specs import TaskSpec
from xstilts.errors import IntegrityError, UsageError
from xstilts.modules.methods import read_tensors
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.strict_json import read_json, real_file

_PICKLE_READER = """
import sys, torch
from safetensors.torch import save_file
state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
assert isinstance(state, dict) and all(isinstance(v, torch.Tensor) for v in state.values())
save_file({str(k): v.detach().clone().contiguous() for k, v in state.items()}, sys.argv[2])
"""


Kinds = TypeVar("Kinds", bound=BaseModel)


@dataclass(frozen=True)
class Imported:
    """A module of another library as our weights and head.

    Attributes:
        library: `adapters` or `peft`.
        stated: Name or path of the base model in its config; empty when it names none.
        notes: What was left behind, and why.
    """

    adapter: ModuleWeights
    head: Head | None
    library: str
    stated: str
    notes: tuple[str, ...] = ()


@dataclass
class ExternalFolder:
    """A folder of another library that is being read.

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
            file = real_file(self.path / name)
            if file.is_file():
                found = read_tensors(
                    file if name.endswith(".safetensors") else self._unpickled(file)
                )
                for key, tensor in found.items():
                    if not tensor.is_floating_point():
                        what = f"tensor '{key}' holds {tensor.dtype}, which are no weights"
                        raise IntegrityError(what, where=str(self.path))
                return found
        return None

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object in a file.

        Raises:
            IntegrityError: The file is missing, no object, or not to be trusted; see `read_json`.
        """
        values = read_json(real_file(self.path / name))
        if not isinstance(values, dict):
            raise IntegrityError(f"{name} is no JSON object", where=str(self.path))
        return values

    def head(
        self, tensors: dict[str, Tensor], task: TaskSpec | None, backbone: Backbone
    ) -> Head | None:
        """The head of a task with these tensors; None, and a note, when they are no such head."""
        if task is None:
            self.notes.append("its head was left out: name its task with --task")
            return None
        try:
            return restore_head(task, backbone, tensors)
        except UsageError as error:
            self.notes.append(f"its head was left out: {error.what}")
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


def of_kinds(kinds: type[Kinds], config: Mapping[str, Any], where: Path) -> Kinds:
    """The keys of a config that are read.

    Raises:
        IntegrityError: One is of another kind than its library writes.
    """
    try:
        return kinds.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        key, why = str(first["loc"][0]), first["msg"]
        raise IntegrityError(
            f"'{key}' is {config.get(key)!r:.80}: {why[0].lower()}{why[1:]}", where=str(where)
        ) from None


def require_understood(
    config: Mapping[str, Any], understood: Collection[str], where: Path, hint: str
) -> None:
    """Refuse a config that asks for something that the conversion would leave out.

    Args:
        config: Of the folder.
        understood: Its keys that the conversion reads, or that say nothing of a trained module.
        where: For the message.
        hint: What to do instead.

    Raises:
        IntegrityError: Another key is set; one that is null, false or empty is off.
    """
    for key, value in sorted(config.items()):
        if key not in understood and value not in (None, False, "", [], {}):
            raise IntegrityError(
                f"option {key}={value!r} is not understood", where=str(where), hint=hint
            )
