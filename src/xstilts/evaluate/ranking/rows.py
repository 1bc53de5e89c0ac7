"""Rows of the tasks that a ranking compares, and a vector of each task by two estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xstilts.backbone.known import KnownBackbone
from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.sources import load, task_in_world
from xstilts.tasks.encoding import encode
from xstilts.tasks.formats import check_targets, with_labels
from xstilts.zoo.workspace import Workspace

if TYPE_CHECKING:  # a ranking that is there is found without torch
    from xstilts.evaluate.ranking import estimates

TaskInLanguages = tuple[str, tuple[str, ...]]
"""A task and the languages that its rows are in."""


@dataclass(frozen=True)
class TaskRows:
    """Labelled rows of a task, tokenised.

    Attributes:
        held: Held-out ones, where they were asked for.
    """

    source: TaskInLanguages
    task: TaskSpec
    train: Features
    held: Features | None


class LabelledRows:
    """Rows and vectors of tasks, each read, tokenised and computed once.

    Args:
        shots: Rows of a task, over all its languages.
        seed: Of the choice of rows, and of the head that Fisher embeddings are taken with.
    """

    def __init__(
        self, backbone: KnownBackbone, workspace: Workspace, shots: int, seed: int
    ) -> None:
        self.backbone, self.workspace = backbone, workspace
        self.shots, self.seed = shots, seed
        self._rows: dict[TaskInLanguages, TaskRows] = {}
        self._fisher: dict[TaskInLanguages, estimates.Vector] = {}
        self._texts: dict[TaskInLanguages, estimates.Vector] = {}

    def of(self, name: str, languages: Sequence[str] = (), *, held: bool = False) -> TaskRows:
        """Labelled rows of a task, and held-out ones when asked for.

        Args:
            name: Of the task.
            languages: That they are in; the task's source language when empty.
            held: Ask for held-out ones.
        """
        task = task_in_world(load_task(name), self.workspace.data)
        chosen = tuple(languages) or (task.source_language,)
        source = name, chosen
        if source not in self._rows or (held and self._rows[source].held is None):
            train = self._load(task, "train", chosen)
            check_targets(train)
            labelled = with_labels(task, train)
            split = task.select_split or "validation"
            dev = self._load(labelled, split, chosen) if held else None
            self._rows[source] = TaskRows(
                source,
                labelled,
                self._encoded(train, labelled),
                self._encoded(dev, labelled) if dev else None,
            )
        return self._rows[source]

    def text(self, rows: TaskRows) -> estimates.Vector:
        """Mean sentence vector of rows in the plain encoder."""
        from xstilts.evaluate.ranking import estimates

        if rows.source not in self._texts:
            self._texts[rows.source] = estimates.mean_vector(self.backbone.loaded, rows.train)
        return self._texts[rows.source]

    def fisher(self, rows: TaskRows) -> estimates.Vector:
        """Fisher embedding of rows' task in the plain encoder."""
        from xstilts.evaluate.ranking import estimates

        if rows.source not in self._fisher:
            self._fisher[rows.source] = estimates.fisher(
                self.backbone.loaded, rows.task, rows.train, self.seed
            )
        return self._fisher[rows.source]

    def _load(self, task: TaskSpec, split: str, languages: Sequence[str]) -> list[Example]:
        """As many rows of each language, `shots` in all at most."""
        rows: list[Example] = []
        for language in languages:
            rows += load(
                task,
                split,
                language,
                self.workspace.data,
                offline=self.workspace.offline,
                limit=max(1, self.shots // len(languages)),
                seed=self.seed,
            )
        return rows

    def _encoded(self, rows: list[Example], task: TaskSpec) -> Features:
        return encode(rows, task, self.backbone.loaded, self.workspace.cache)
