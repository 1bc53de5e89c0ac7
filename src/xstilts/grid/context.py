"""What computing cells needs besides the cells: backbones, workspace, and the rows read so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xstilts.backbone.backbone import Backbone
from xstilts.evaluate.evaluator import Evaluator
from xstilts.evaluate.row_cache import RowCache
from xstilts.evaluate.store import ResultStore
from xstilts.grid.state import GridFolder
from xstilts.train.recipe_graph import with_phases
from xstilts.train.recipes import TrainingDefaults
from xstilts.zoo import Entry
from xstilts.zoo.workspace import Workspace


@dataclass
class GridContext:
    """Where cells are planned and computed; one backbone is loaded at a time.

    Attributes:
        workspace: Where data, modules, checkpoints and caches are.
        results: The result store; the state of grids is below it.
        load: Gives a backbone by the name that a study has for it; empty is the default one.
        world: Training defaults of the data's world; None for real data.
        command: Shown to resume.
    """

    workspace: Workspace
    results: Path
    load: Callable[[str], Backbone]
    world: TrainingDefaults | None = None
    command: str = ""
    _loaded: dict[str, Backbone] = field(default_factory=dict)
    _rows: dict[str, RowCache] = field(default_factory=dict)

    @property
    def folder(self) -> GridFolder:
        """The folder that says which cells are done, failed or being computed."""
        return GridFolder(self.results)

    @property
    def store(self) -> ResultStore:
        """The finished evaluations."""
        return ResultStore(self.results)

    def backbone(self, name: str) -> Backbone:
        """A backbone; the one before is let go."""
        if name not in self._loaded:
            self._loaded.clear()
            self._rows.clear()
            self._loaded[name] = self.load(name)
        return self._loaded[name]

    def rows(self, name: str) -> RowCache:
        """Rows as a backbone's tokenizer splits them, remembered over cells."""
        backbone = self.backbone(name)
        if name not in self._rows:
            self._rows[name] = RowCache(backbone, self.workspace)
        return self._rows[name]

    def evaluation(self, name: str) -> Evaluator:
        """What evaluates expressions on a backbone."""
        return Evaluator(self.backbone(name), self.workspace, self.store, rows=self.rows(name))

    def outcome(self, key: str) -> dict[str, Any]:
        """What a cell gave; it must be done."""
        found = self.folder.outcome(key)
        assert found is not None, f"cell {key} is not done"
        return found

    def module(self, part: str) -> str:
        """The module that a training cell made, by digest; of an expression of cells, all are."""
        return with_phases(part, lambda key: f"@{self.outcome(key)['module']}")

    def entry(self, digest: str) -> Entry | None:
        """The module with this digest, or None when it left the library."""
        return next((e for e in self.workspace.zoo.entries() if e.manifest.digest == digest), None)
