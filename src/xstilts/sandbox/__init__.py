"""The built-in world: artificial languages, tasks in the real file formats, a tiny backbone.

Everything is generated, offline, on a CPU. Its scores are a simulation and no evidence about real
languages.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from xstilts.config.progress import ProgressFn, silent
from xstilts.errors import NotFoundError
from xstilts.files import atomic_folder, digest

if TYPE_CHECKING:
    from xstilts.sandbox.spec import SandboxSpec

WORLDS = ("sandbox",)

VERSION = 7
"""Raised when the same spec gives another world."""

_SMALL = (
    *("cad_nli", "ccg", "commonsenseqa", "copa", "cosmosqa", "hellaswag", "nusax_senti", "panx"),
    *("pawsx", "snli", "squad1", "squad2", "sst2", "tydiqa", "udpos"),
)

_TRAINING: Mapping[str, Any] = {"lr": 5e-3, "epochs": 1, "batch_size": 32, "max_length": 128}


def training_settings() -> dict[str, Mapping[str, Any]]:
    """Method preset or task to the settings that suit a backbone of 4 x 128; `""` is for all."""
    from xstilts.config.load import load_method, spec_names

    presets = {name: load_method(name).sandbox for name in spec_names("methods")}
    return {"": _TRAINING, **presets, **{task: {"epochs": 8} for task in _SMALL}}


@dataclass(frozen=True)
class World:
    """A sandbox world on disk.

    Attributes:
        data: Folder with the tasks' files.
        backbone: Model folder of the pretrained encoder.
        digest: Of the spec and the generator's version.
        spec: What decides it.
    """

    data: Path
    backbone: Path
    digest: str
    spec: SandboxSpec

    def sized(self, name: str, progress: ProgressFn | None = None) -> Path | None:
        """A backbone of another size, pretrained when it is first asked for; None for no size.

        Noise leaves it alone, too: it is that of the world without.
        """
        from xstilts.sandbox.pretraining import SIZES, build_backbone

        if name not in SIZES:
            return None
        if name == self.backbone.name:
            return self.backbone
        if self.spec.noise:
            clean = self.spec.model_copy(update={"noise": {}})
            return ensure_world(self.data.parent.parent.parent, clean, progress).sized(name)
        folder = self.data.parent / name
        with FileLock(f"{self.data.parent}.lock"):
            if not folder.is_dir():
                progress = progress or silent
                with atomic_folder(folder) as new:
                    build_backbone(new / name, self.data, self.spec, progress)
        return folder / name


def chosen_world(text: str) -> tuple[str, SandboxSpec | None]:
    """What `--world` names: the name of its folder, and its spec when it is not the default one.

    `sandbox` is the default world; `sandbox:seed=3,noise.cad_nli=1` sets fields of `SandboxSpec`.

    Raises:
        NotFoundError: There is no such world, or no such architecture.
        ConfigError: An option is unknown or has a wrong value.
    """
    name, _, options = text.partition(":")
    if name not in WORLDS:
        raise NotFoundError.named("world", name, WORLDS)
    if not options:
        return name, None
    from xstilts.config.layers import Layer, parse_overrides, resolve
    from xstilts.sandbox.spec import SandboxSpec

    layer = Layer(
        f"--world {text}", parse_overrides(options.split(","), "--world", "--world sandbox:seed=3")
    )
    spec = resolve(SandboxSpec, [layer]).value
    if spec == SandboxSpec():
        return name, None
    if spec.architecture != SandboxSpec().architecture:
        from xstilts.backbone.architectures import ARCHITECTURES

        ARCHITECTURES.origin(spec.architecture)
    return f"{name}-{digest(spec.key())[:8]}", spec


def _place(cache: Path, spec: SandboxSpec) -> tuple[Path, str]:
    """The folder of a world and its digest."""
    key = digest({"version": VERSION, "spec": spec.key()})
    return cache / "sandbox" / key[:16], key


def is_built(cache: Path, spec: SandboxSpec | None = None) -> bool:
    """Whether `ensure_world` has nothing to build."""
    from xstilts.sandbox.spec import SandboxSpec

    return _place(cache, spec or SandboxSpec())[0].is_dir()


def ensure_world(
    cache: Path,
    spec: SandboxSpec | None = None,
    progress: ProgressFn | None = None,
) -> World:
    """The world of a `SandboxSpec`, built when it is not in the cache yet.

    Noise leaves the backbone alone: a world with noise has that of the world without.
    """
    from xstilts.sandbox.spec import SandboxSpec

    chosen = spec or SandboxSpec()
    folder, key = _place(cache, chosen)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            from xstilts.sandbox.pretraining import build_backbone
            from xstilts.sandbox.world import build_data, text_first

            progress = progress or silent
            progress("writing its rows", 0.0)
            with atomic_folder(folder) as new:
                if chosen.noise:
                    build_data(new / "data", chosen)
                    clean = chosen.model_copy(update={"noise": {}})
                    shutil.copytree(ensure_world(cache, clean, progress).backbone, new / "sandbox")
                else:
                    with text_first(new / "data", chosen):
                        build_backbone(new / "sandbox", new / "data", chosen, progress)
    return World(folder / "data", folder / "sandbox", key, chosen)
