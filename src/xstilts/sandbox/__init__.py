"""The built-in world: artificial languages, tasks in the real file formats, a tiny backbone.

Everything is generated, offline, on a CPU. Its scores are a simulation and no evidence about real
languages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from xstilts.files import atomic_folder, digest

VERSION = 2
"""Raised when the same spec gives another world."""

_SMALL = (
    *("cad_nli", "ccg", "commonsenseqa", "copa", "cosmosqa", "hellaswag", "nusax_senti", "panx"),
    *("pawsx", "snli", "squad1", "squad2", "sst2", "tydiqa", "udpos"),
)

TRAINING: Mapping[str, Mapping[str, Any]] = {
    "": {"lr": 2e-3, "epochs": 4, "batch_size": 32},
    "full": {"lr": 3e-4},
    **{task: {"epochs": 8} for task in _SMALL},
}
"""Method preset or task to the settings that suit a backbone of 4 x 128; `""` is for all."""


@dataclass(frozen=True)
class World:
    """A sandbox world on disk.

    Attributes:
        data: Folder with the tasks' files.
        backbone: Model folder of the pretrained encoder.
        digest: Of the spec and the generator's version.
    """

    data: Path
    backbone: Path
    digest: str


def ensure_world(
    cache: Path,
    spec: object | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> World:
    """The world of a `SandboxSpec`, built when it is not in the cache yet."""
    from xstilts.sandbox.world import SandboxSpec

    chosen = spec if isinstance(spec, SandboxSpec) else SandboxSpec()
    key = digest({"version": VERSION, "spec": chosen.model_dump()})
    folder = cache / "sandbox" / key[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            from xstilts.sandbox.pretraining import build_backbone
            from xstilts.sandbox.world import build_data

            with atomic_folder(folder) as new:
                build_data(new / "data", chosen)
                build_backbone(
                    new / "sandbox", new / "data", chosen, progress or (lambda _text, _share: None)
                )
    return World(folder / "data", folder / "sandbox", key)
