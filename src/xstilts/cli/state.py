"""What the global options mean to every command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.config import paths
from xstilts.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from xstilts.sandbox import World

WORLDS = ("sandbox",)
WIDTH = 200
"""Columns of tables that do not go to a terminal."""


@dataclass
class State:
    """Global options, resolved when first used.

    Attributes:
        as_json: Print one JSON value on stdout instead of tables.
        quiet: Print results only.
        offline: Never open a socket.
        debug: Keep tracebacks.
        dry_run: Print the plan and write nothing.
        yes: Answer every question with yes.
        world: `sandbox`, with options as `sandbox:seed=3`, or empty for real data.
        data_option, zoo_option, results_option: As given on the command line.
        encoders: Backbones that this command has loaded, by reference.
    """

    as_json: bool = False
    quiet: bool = False
    offline: bool = False
    debug: bool = False
    dry_run: bool = False
    yes: bool = False
    world: str = ""
    data_option: Path | None = None
    zoo_option: Path | None = None
    results_option: Path | None = None
    overrides: list[str] = field(default_factory=list)
    encoders: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.world.partition(":")[0]
        if name and name not in WORLDS:
            raise NotFoundError.named("world", name, WORLDS)

    # -- where things are

    @cached_property
    def sandbox(self) -> World:
        """The sandbox world, built when it is not in the cache."""
        from xstilts.config.progress import progress_bar
        from xstilts.sandbox import chosen_world, ensure_world

        _, spec = chosen_world(self.world)
        with progress_bar("sandbox world", quiet=self.quiet) as progress:
            if spec is None:
                return ensure_world(paths.cache_folder(), progress=progress)
            return ensure_world(paths.cache_folder(), spec, progress)

    @property
    def data(self) -> Path | None:
        """Folder with original data files, or None when only a hub can serve."""
        if self.data_option:
            if not self.data_option.is_dir():
                raise NotFoundError(f"no data folder {self.data_option}", hint="Check --data.")
            return self.data_option
        return self.sandbox.data if self.world else paths.data_folder()

    @property
    def backbone(self) -> str:
        """The backbone when a command names none."""
        return str(self.sandbox.backbone) if self.world else "xlm-roberta-base"

    def encoder(self, name: str) -> str:
        """The backbone that a study names; a world has smaller ones of its own."""
        from xstilts.config.progress import progress_bar

        if not name:
            return self.backbone
        if not self.world:
            return name
        with progress_bar("sandbox world", quiet=self.quiet) as progress:
            return str(self.sandbox.sized(name, progress) or name)

    @property
    def training_defaults(self) -> Mapping[str, Mapping[str, Any]] | None:
        """What the world says of training: method preset to settings; None for real data."""
        from xstilts.sandbox import TRAINING

        return TRAINING if self.world else None

    @property
    def zoo(self) -> Path:
        """The module library in use."""
        if self.zoo_option:
            return self.zoo_option
        return self._world_folder("adapters_zoo") if self.world else paths.zoo_folder()

    @property
    def results(self) -> Path:
        """The result store in use."""
        if self.results_option:
            return self.results_option
        return self._world_folder("results") if self.world else paths.results_folder()

    @property
    def runs(self) -> Path:
        """Folder for checkpoints of unfinished runs."""
        return self._world_folder("runs") if self.world else paths.home_folder() / "runs"

    def _world_folder(self, name: str) -> Path:
        from xstilts.sandbox import chosen_world

        return paths.home_folder() / "worlds" / chosen_world(self.world)[0] / name

    def refuse_dry_run(self, command: str) -> None:
        """Stop a command that would write although `--dry-run` is given.

        Raises:
            UsageError: It is given.
        """
        if self.dry_run:
            raise UsageError(f"{command} has no plan to print", hint="Leave out --dry-run.")

    # -- printing

    @cached_property
    def console(self) -> Console:
        """Standard output, for people."""
        from rich.console import Console

        return Console(soft_wrap=False, width=None if sys.stdout.isatty() else WIDTH)

    @property
    def json(self) -> bool:
        """Whether stdout carries JSON."""
        return self.as_json

    def emit(self, value: Any, human: Callable[[], object]) -> None:
        """Print a result: `value` as JSON with `--json`, else whatever `human` prints."""
        if os.environ.get("RANK", "0") != "0":
            return
        if self.as_json:
            json.dump(value, sys.stdout, ensure_ascii=False, indent=2, sort_keys=True, default=str)
            sys.stdout.write("\n")
        else:
            human()

    def note(self, text: str) -> None:
        """A line for the person on stderr, unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr)
