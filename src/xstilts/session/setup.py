"""What a session knows before it does anything: places, backbone, device, and whom it tells."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from xstilts.config import paths
from xstilts.config.paths import require_writable
from xstilts.errors import NotFoundError, UsageError
from xstilts.sandbox import WORLDS, chosen_world, training_settings

if TYPE_CHECKING:
    from xstilts.backbone.backbone import Backbone
    from xstilts.backbone.known import KnownBackbone
    from xstilts.config.progress import ProgressFn
    from xstilts.evaluate.request import Request
    from xstilts.evaluate.store import ResultStore
    from xstilts.sandbox import World
    from xstilts.zoo import Entry, Zoo
    from xstilts.zoo.workspace import Workspace

DEFAULT_BACKBONE = "xlm-roberta-base"
PRECISIONS = ("fp32", "bf16", "int8")


def listed(value: str | Iterable[str]) -> list[str]:
    """One text or several as a list."""
    return [value] if isinstance(value, str) else list(value)


def expanded(value: str | Path | None) -> Path | None:
    """A path with its `~` filled in."""
    return None if value is None else Path(value).expanduser()


class Setup:
    """Where a session finds its backbone, data, modules and results, and what it tells.

    Args:
        backbone: Preset, folder or `org/name@revision`; empty: the world's, or else
            xlm-roberta-base.
        zoo: The module library; that of `xstilts zoo ls` when None.
        data: Folder with the tasks' files, or several that are read as one; `XSTILTS_DATA` when
            None, and else a hub serves.
        results: The result store; `XSTILTS_RESULTS` or one in your home when None.
        cache: Folder for what can be computed again; `XSTILTS_CACHE` when None.
        device: Such as `cuda:0`; the best one when empty.
        offline: Never open a socket.
        world: `sandbox` for the built-in world: its data, its backbone, a zoo and results apart.
        quiet: Show no progress and no notes on stderr.

    Raises:
        NotFoundError: There is no such world.
    """

    def __init__(
        self,
        *,
        backbone: str = "",
        zoo: str | Path | None = None,
        data: str | Path | Sequence[str | Path] | None = None,
        results: str | Path | None = None,
        cache: str | Path | None = None,
        device: str = "",
        offline: bool = False,
        world: str = "",
        quiet: bool = False,
    ) -> None:
        name = world.partition(":")[0]
        if name and name not in WORLDS:
            raise NotFoundError.named("world", name, WORLDS)
        given = [data] if isinstance(data, str | Path) else list(data or ())
        self.backbone_option = backbone
        self.data_option = [folder for item in given for folder in paths.split_folders(str(item))]
        self.zoo_option, self.results_option = expanded(zoo), expanded(results)
        self.cache = expanded(cache) or paths.cache_folder()
        self.device_option = device
        self.offline, self.world, self.quiet = offline, world, quiet
        self._backbones: dict[str, Backbone] = {}
        self._noted: set[str] = set()

    def __repr__(self) -> str:
        world = f", world={self.world!r}" if self.world else ""
        return f"Session(zoo='{self.zoo_folder}', results='{self.results_folder}'{world})"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    def in_world(self, world: str) -> Self:
        """The same session in another world."""
        return type(self)(
            backbone=self.backbone_option,
            zoo=self.zoo_option,
            data=self.data_option,
            results=self.results_option,
            cache=self.cache,
            device=self.device_option,
            offline=self.offline,
            world=world,
            quiet=self.quiet,
        )

    # -- where things are

    @cached_property
    def sandbox(self) -> World:
        """The sandbox world, built when it is not in the cache."""
        from xstilts import sandbox

        _, spec = chosen_world(self.world or WORLDS[0])
        with self.progress("sandbox world") as progress:
            return sandbox.ensure_world(self.cache, spec, progress)

    @property
    def data_folders(self) -> list[Path]:
        """Folders with the tasks' files, the first one first; none when only a hub can serve.

        Raises:
            NotFoundError: One that was named is not there.
        """
        from xstilts.config.load import data_folders

        for folder in self.data_option:
            if not folder.is_dir():
                raise NotFoundError(f"no data folder {folder}", hint="Check --data.")
        if self.data_option:
            return self.data_option
        return [self.sandbox.data] if self.world else data_folders()

    @property
    def data(self) -> Path | None:
        """The folder that is read: the data folder, or one of links to several."""
        folders = self.data_folders
        if len(folders) < 2:
            return folders[0] if folders else None
        from xstilts.data.several import joined_folder

        return joined_folder(folders, self.cache)

    @property
    def data_target(self) -> Path | None:
        """The folder that data are written to: the first one."""
        return next(iter(self.data_folders), None)

    @property
    def zoo_folder(self) -> Path:
        """The module library in use."""
        if self.zoo_option:
            return self.zoo_option
        return self._world_folder("adapters_zoo") if self.world else paths.zoo_folder()

    def require_zoo(self) -> Zoo:
        """The module library, for what only looks into it.

        Raises:
            NotFoundError: The folder that was named is not there.
        """
        folder = self.zoo_folder
        if not folder.is_dir() and (self.zoo_option or folder.exists()):
            raise NotFoundError(f"no module library {folder}", hint="Check --zoo.")
        return self.zoo

    @property
    def zoo(self) -> Zoo:
        """The module library; references to hubs are pulled into it when they are first used."""
        from xstilts.zoo import Zoo

        def fetch(reference: str) -> Path:
            return self.pulled(reference).folder

        return Zoo(self.zoo_folder, fetch)

    def pulled(self, reference: str, key: Path | None = None) -> Entry:
        """A module of a hub, fetched into the library; see `xstilts.zoo.hubs.pull`."""
        from xstilts.zoo import hubs

        with self.progress("pulling") as progress:
            return hubs.pull(reference, self.zoo, key=key, offline=self.offline, progress=progress)

    @property
    def results_folder(self) -> Path:
        """Folder of the result store in use."""
        if self.results_option:
            return self.results_option
        return self._world_folder("results") if self.world else paths.results_folder()

    @property
    def results(self) -> ResultStore:
        """The finished evaluations."""
        from xstilts.evaluate.store import ResultStore

        return ResultStore(self.results_folder)

    @property
    def runs(self) -> Path:
        """Folder for checkpoints of unfinished runs."""
        return self._world_folder("runs") if self.world else paths.home_folder() / "runs"

    def _world_folder(self, name: str) -> Path:
        return paths.home_folder() / "worlds" / chosen_world(self.world)[0] / name

    def workspace(self, track: Sequence[str] = ()) -> Workspace:
        """Where phases and evaluations read and write.

        Raises:
            NotFoundError: One of the trackers is unknown.
        """
        from xstilts.zoo.workspace import Workspace

        if track:
            from xstilts.train.processes import TRACKERS

            for name in track:
                if name not in TRACKERS:
                    raise NotFoundError.named("tracker", name, TRACKERS)
        return Workspace(
            data=self.data,
            zoo=self.zoo,
            runs=self.runs,
            cache=self.cache,
            offline=self.no_hub,
            quiet=self.quiet,
            trackers=tuple(track),
        )

    @property
    def no_hub(self) -> bool:
        """Whether data have to be on this machine: offline, or in a world."""
        return self.offline or bool(self.world)

    # -- backbone and device

    @property
    def backbone_default(self) -> tuple[str, str]:
        """The backbone of whatever names none, and where that is said.

        Of the session, the world, `XSTILTS_BACKBONE` and `xstilts.toml` the first one that says it.
        """
        from xstilts.config.layers import place_setting

        if self.backbone_option:
            return self.backbone_option, "session"
        if self.world:
            return str(self.sandbox.backbone), "world"
        if os.environ.get("XSTILTS_BACKBONE"):
            return os.environ["XSTILTS_BACKBONE"], "XSTILTS_BACKBONE"
        value, origin = place_setting("backbone", Path.cwd(), paths.home_folder())
        return (str(value), str(origin)) if value else (DEFAULT_BACKBONE, "default")

    @property
    def backbone_reference(self) -> str:
        """The backbone of whatever names none."""
        return self.backbone_default[0]

    def backbone(self, reference: str = "") -> Backbone:
        """A backbone on the session's device, loaded once.

        Raises:
            NotFoundError: There is no such preset, folder or repository.
            OfflineError: It is not on this machine, and the session is offline.
        """
        name = reference or self.backbone_reference
        if name not in self._backbones:
            self._tell_loading(name)
            self.require_backbone(name)
            from xstilts.backbone.backbone import Backbone
            from xstilts.backbone.known import BackboneFacts

            device = self.device
            facts = BackboneFacts(name, self.cache)
            with self.progress("backbone"):
                loaded = Backbone.load(name, offline=self.offline)
            facts.keep(loaded)
            if loaded.padding_remark:
                self.note(loaded.padding_remark)
            self._backbones[name] = loaded.to(device)
        return self._backbones[name]

    def known_backbone(self, reference: str = "") -> KnownBackbone:
        """As `backbone`; its weights are loaded when they are needed, if it was loaded before."""
        name = reference or self.backbone_reference
        if name in self._backbones:
            return self._backbones[name]
        if self.device_option not in ("", "cpu"):
            _ = self.device  # refuses one that is not there; no weight is loaded for that
        return self.backbone_if_known(name) or self.backbone(name)

    def backbone_if_known(self, reference: str = "") -> KnownBackbone | None:
        """As `known_backbone`; None instead of loading weights."""
        name = reference or self.backbone_reference
        if name in self._backbones:
            return self._backbones[name]
        from xstilts.backbone.known import BackboneFacts

        known = BackboneFacts(name, self.cache).known(lambda: self.backbone(name))
        if known is None:
            self.require_backbone(name)
        return known

    def outlined_backbone(self, reference: str = "") -> Backbone:
        """As `backbone`; with the shapes of its weights alone, if it was loaded before."""
        name = reference or self.backbone_reference
        known = self.backbone_if_known(name)
        if known is None or name in self._backbones:
            return self.backbone(name)
        from xstilts.backbone.backbone import OutlinedBackbone

        return OutlinedBackbone(
            name,
            known.identity,
            known.retrieval_layer,
            known.max_length,
            runs_on=self.device,
            load=lambda: self.backbone(name),
            offline=self.offline,
        )

    def _tell_loading(self, name: str) -> None:
        """Say once, before anything slow is imported, that a backbone will be loaded."""
        if name not in self._noted:
            self._noted.add(name)
            self.note(f"loading backbone {name}")

    def backbone_for(self, expressions: str | Iterable[str], reference: str = "") -> Backbone:
        """The backbone named, or else that of the modules in some expressions.

        Raises:
            NotFoundError: The modules' own backbone is not at hand; every place is listed.
        """
        return self.backbone(self.reference_for(expressions, reference))

    def reference_for(self, expressions: str | Iterable[str], reference: str = "") -> str:
        """As `backbone_for`, before it is loaded; raises as `require_parts` does."""
        given = reference or self.backbone_option
        self.require_parts(expressions)
        if given:
            return given
        default = self.backbone_reference
        from xstilts.backbone.reference import backbone_spec
        from xstilts.composition.refusals import only_backbone_of
        from xstilts.zoo.backbones import locate_backbone

        entry = only_backbone_of(listed(expressions), self.zoo)
        if entry is None:
            return default
        own, spec = entry.manifest.backbone, backbone_spec(default)
        if own.repo in (spec.repo, Path(spec.repo).name) or own.name == spec.name:
            return default
        sized = self.sandbox.sized(own.repo) if self.world and not own.on_hub else None
        near = (Path.cwd(), self.zoo_folder.parent, self.zoo_folder)
        try:
            found = str(sized) if sized else locate_backbone(entry, near)
        except NotFoundError:
            moved = Path(default).expanduser().is_dir()
            if not moved or own.differences(self.known_backbone(default).identity):
                raise
            return default
        self.note(f"backbone {own.name}, on which {entry.reference} was trained: {found}")
        return found

    def study_backbone(self, name: str) -> str:
        """Reference of the backbone that a study names; a world has smaller ones of its own."""
        if not name or not self.world:
            return name or self.backbone_reference
        with self.progress("sandbox world") as progress:
            return str(self.sandbox.sized(name, progress) or name)

    @property
    def device(self) -> str:
        """Where models run; each of several local processes has its own accelerator.

        Raises:
            UsageError: This machine has no such device.
        """
        import torch

        if not self.device_option:
            own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            return own if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=self.device_option)
        except (RuntimeError, AssertionError, NotImplementedError):
            known = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
            raise UsageError(
                f"no device '{self.device_option}' here", hint=f"Known: {', '.join(known)}."
            ) from None
        return self.device_option

    @property
    def training_defaults(self) -> Mapping[str, Mapping[str, Any]] | None:
        """What the world says of training: method preset to settings; None for real data."""
        return training_settings() if self.world else None

    # -- what the person is told

    def note(self, text: str) -> None:
        """A line on stderr, at once, unless quiet; of several processes the first one speaks."""
        if not self.quiet and os.environ.get("RANK", "0") == "0":
            print(text, file=sys.stderr, flush=True)

    def progress(self, title: str) -> AbstractContextManager[ProgressFn]:
        """A progress bar on stderr, unless quiet."""
        from xstilts.config.progress import Progress

        return Progress(title, quiet=self.quiet)

    # -- what is refused before a backbone is loaded

    def require_backbone(self, reference: str = "") -> None:
        """Refuse a backbone that is nowhere and cannot be fetched, before torch is imported.

        Raises:
            NotFoundError: There is no such preset or folder.
            OfflineError: It is not on this machine, and the session is offline.
            NetworkError: It is not on this machine, and the hub does not answer.
        """
        name = reference or self.backbone_reference
        if name not in self._backbones:
            from xstilts.backbone.known import require_at_hand

            require_at_hand(name, offline=self.offline)

    def require_parts(self, expressions: str | Iterable[str], language: str = "") -> None:
        """Refuse expressions that do not parse, or that name modules that are not there.

        Parts that depend on a language are looked for when one is given, else later.

        Raises:
            UsageError: An expression or a reference does not parse.
            NotFoundError: A module is nowhere; near names are shown.
        """
        from xstilts.composition.refusals import require_parts

        require_parts(listed(expressions), self.zoo, language)

    def require_requests(self, requests: Sequence[Request], backbone: str = "") -> None:
        """Refuse what no evaluation can answer: no such task, rows or head, nowhere to keep it.

        Raises:
            UsageError: An expression has no head for a task, or a folder is unusable.
            NotFoundError: There is no such task or language, or it has no rows.
            OfflineError: Only a hub has its rows.
        """
        from xstilts.config.load import load_task

        self.require_writable("results", "cache")
        asked = dict.fromkeys((own.expression, own.head, own.task) for own in requests)
        for _, _, task in asked:
            load_task(task)
        from xstilts.composition.refusals import require_heads
        from xstilts.evaluate.cells import require_data

        require_heads(asked, self.zoo, self.data)
        require_data(requests, self.data, offline=self.no_hub)

    def require_precision(self, precision: str) -> None:
        """Refuse a precision that there is not, or that this machine does not compute in."""
        if precision not in PRECISIONS:
            known = ", ".join(sorted(PRECISIONS))
            raise UsageError(f"no precision named '{precision}'", hint=f"Known: {known}.")
        if precision == "bf16":
            from xstilts.backbone.machine import require_bf16

            require_bf16(self.device)

    def require_writable(self, *names: str) -> None:
        """Refuse folders that nothing can be kept in: `zoo`, `results`, `cache`, `home`."""
        elsewhere = {
            "zoo": (self.zoo_folder, "Name another folder: --zoo DIR."),
            "results": (self.results_folder, "Name another folder: --results DIR."),
            "cache": (self.cache, "Set XSTILTS_CACHE to a folder of yours."),
            "home": (self.runs, "Set XSTILTS_HOME to a folder of yours."),
        }
        for name in names:
            require_writable(*elsewhere[name])
