"""Search for the weights of a merge on a few labelled examples (LoraHub, arXiv:2307.13269).

Nothing is trained: an evolution strategy (CMA-ES) proposes weights, and the loss of a given head on
the examples judges them. Every judged proposal is written down at once, so a stopped search goes on
where it was, and a larger budget continues a smaller one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Generator

from xstilts.backbone.backbone import Backbone
from xstilts.composition.compose import compose
from xstilts.composition.expression import Expression
from xstilts.composition.heads import load_heads
from xstilts.composition.load import load_modules
from xstilts.composition.resolve import pinned, resolve_expression
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.load import load_task, train_task_of
from xstilts.config.progress import ProgressFn, silent
from xstilts.config.specs import Seed, Spec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.features import Features, collate
from xstilts.data.sources import data_digest, load, require_located, task_in_world
from xstilts.errors import NotFiniteError, NotFoundError, UsageError
from xstilts.files import digest
from xstilts.tasks.encoding import encode
from xstilts.tasks.formats import check_targets
from xstilts.train.search import weights
from xstilts.train.search.strategy import (
    read_judgements,
    require_cma,
    strategy,
    write_judgement,
)
from xstilts.zoo import Entry
from xstilts.zoo.workspace import Workspace

_ROWS = 16
WORST = 1e9
"""The judgement of weights whose loss is no number."""


class SearchSpec(Spec):
    """Settings of a search.

    Attributes:
        budget: Weights that are judged; rounded up to whole generations.
        shots: Labelled examples they are judged on.
        penalty: Times the mean size of free weights, added to the loss (0.05 in LoraHub).
        seed: Of the proposals and of the choice of examples.
    """

    budget: int = Field(default=60, gt=0)
    shots: int = Field(default=64, gt=0)
    penalty: float = Field(default=0.05, ge=0)
    seed: Seed = 42


@dataclass(frozen=True)
class Found:
    """The best weights of a search, with their loss.

    Attributes:
        expression: With the best weights.
        loss: Mean loss of the examples with them, penalty included.
        start: The same with the weights as written.
        judged: How many weights were judged, those of earlier runs included.
        penalty: The part of the loss that is the penalty on large weights.
        start_penalty: The same of the start.
    """

    expression: Expression
    loss: float
    start: float
    judged: int
    penalty: float
    start_penalty: float


def require_search(target: str, root: Path | None, *, offline: bool) -> None:
    """Refuse a search that cannot run before a backbone is loaded.

    Raises:
        UsageError: The package that proposes weights is not installed.
        NotFoundError: Neither the target nor the task that trains it has dev rows.
        OfflineError: Only a hub has them, and `offline` is set.
    """
    require_cma()
    _judging_task(target, root, offline=offline)


def _judging_task(target: str, root: Path | None, *, offline: bool) -> TaskSpec:
    """The task whose dev rows judge: the target, or the one that trains it."""
    first = task_in_world(load_task(target), root)
    try:
        require_located(first, _split(first), first.source_language, root, offline=offline)
    except NotFoundError:
        trained = task_in_world(load_task(train_task_of(target) or target), root)
        language = trained.source_language
        require_located(trained, _split(trained), language, root, offline=offline)
        return trained
    return first


def _split(task: TaskSpec) -> str:
    return task.select_split or "validation"


class Search:
    """A search for the weights of `text` on `target`.

    Args:
        text: An expression with a weighing operator, such as `average(mnli, qqp)`.
        target: Task whose source-language dev rows judge.
        head: Module whose head is used; the first part with a fitting one when empty.
        backbone: It is as it was when nothing runs.
        workspace: Where to read and write.

    Raises:
        UsageError: There are no weights to search for, or no head fits.
    """

    def __init__(
        self,
        text: str,
        target: str,
        head: str,
        backbone: Backbone,
        workspace: Workspace,
        spec: SearchSpec,
    ) -> None:
        self.backbone, self.workspace, self.spec = backbone, workspace, spec
        self.expression, self.entries = resolve_expression(text, workspace.zoo, backbone)
        self.calls = list(weights.groups(self.expression))
        if sum(len(call.parts) for call in self.calls) < 2:
            raise UsageError(
                f"'{text}' has fewer than two weights to search for",
                hint="Such as average(a, b), a + b or merge_ties(a, b).",
            )
        self.task = task_in_world(load_task(target), workspace.data)
        self.target = target
        self.head_entry, self.head = self._find_head(head)

    def _find_head(self, reference: str) -> tuple[Entry, Head]:
        zoo = self.workspace.zoo
        if reference:
            candidates = [zoo.find(reference, self.backbone.identity)]
        else:
            candidates = list(self.entries.values())
        for entry in candidates:
            for head in load_heads(entry, self.backbone):
                if head.serves(self.task):
                    return entry, head
        raise UsageError(
            f"no part has a head for task {self.task.name}",
            hint="Name a module that has one: --head MODULE. To make one: xstilts train-adapter "
            f"{train_task_of(self.target) or self.target} --method head",
        )

    # -- examples

    @cached_property
    def judging(self) -> TaskSpec:
        """The task whose dev rows judge: the target, or the one that trains it."""
        return _judging_task(self.target, self.workspace.data, offline=self.workspace.offline)

    @property
    def split(self) -> str:
        """The split of `judging` that judges."""
        return _split(self.judging)

    @cached_property
    def rows(self) -> list[Example]:
        """The labelled examples of `judging`, in its source language."""
        workspace, spec = self.workspace, self.spec
        rows = load(
            self.judging,
            self.split,
            self.judging.source_language,
            workspace.data,
            offline=workspace.offline,
            limit=spec.shots,
            seed=spec.seed,
        )
        check_targets(rows)
        return rows

    @cached_property
    def features(self) -> Features:
        """The tokenised examples."""
        # the target may be shorter or longer than the task that the head was trained on
        return encode(
            self.rows,
            self.head.task,
            self.backbone,
            self.workspace.cache,
            max_length=self.task.max_length,
        )

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the search but its budget."""
        return digest(
            {
                "version": 1,
                "expression": pinned(self.expression, self.entries),
                "task": self.head.task.model_dump(
                    exclude={"sources", "note", "title", "more_languages"}
                ),
                "head": self.head_entry.manifest.digest,
                "rows": data_digest(self.rows),
                "backbone": self.backbone.identity.key,
                "spec": self.spec.model_dump(exclude={"budget"}),
            }
        )

    # -- judging

    @cached_property
    def _modules(self) -> dict[str, Any]:
        return load_modules(self.entries, self.workspace.zoo, self.backbone)

    def model(self, expression: Expression) -> TaskModel:
        """The head on an expression of these modules."""
        shape, generator = self.backbone.shape, Generator().manual_seed(0)
        composed = compose(expression, self._modules, shape, generator)
        model = TaskModel(self.backbone, composed, {self.head.task.name: self.head})
        return model.to(self.backbone.device).eval()

    @torch.inference_mode()
    def loss(self, expression: Expression) -> float:
        """Mean loss of the head on the examples, with an expression below it."""
        model, features = self.model(expression), self.features
        pad = self.backbone.tokenizer.pad_token_id
        total = 0.0
        with model.attached():
            for start in range(0, features.num_examples, _ROWS):
                examples = np.arange(start, min(start + _ROWS, features.num_examples))
                batch = collate(features, features.rows_of(examples), pad)
                losses = model(batch.to(self.backbone.device), self.head.task.name)
                total += float(losses.float().sum())
        return total / features.num_examples

    def _judge(self, point: NDArray[np.float64]) -> float:
        expression, free = weights.weighted(self.expression, self.calls, point)
        value = self.loss(expression) + self._penalty(free)
        return value if np.isfinite(value) else WORST

    def _penalty(self, free: list[float]) -> float:
        """What free weights add to the loss."""
        return self.spec.penalty * float(np.mean(np.abs(free))) if free else 0.0

    # -- searching

    def run(self, progress: ProgressFn = silent) -> Found:
        """Judge weights until the budget is spent; earlier judgements are not repeated.

        Raises:
            NotFiniteError: The loss is NaN or infinite with all of them.
        """
        first = point = weights.start(self.calls)
        proposer = strategy(point, weights.bounds(self.calls), self.spec.seed)
        path = self.workspace.runs / f"search-{self.key[:16]}.jsonl"
        known = read_judgements(path)
        start = best = self._next(path, known, 0, point)
        count = 1
        while count < self.spec.budget:
            proposals = proposer.ask()
            losses = []
            for proposal in proposals:
                losses.append(self._next(path, known, count, proposal))
                count += 1
                progress(f"loss {min(best, *losses):.4f}", min(1.0, count / self.spec.budget))
            proposer.tell(proposals, losses)
            lowest = int(np.argmin(losses))
            if losses[lowest] < best:
                best, point = losses[lowest], proposals[lowest]
        if best >= WORST:
            raise NotFiniteError(
                f"no weights give a finite loss: {count} were judged",
                where=f"{self.expression} on {self.task.name}",
                hint="A part or the head computes NaN or infinity; try them one by one with eval.",
            )
        best_expression, free = weights.weighted(self.expression, self.calls, point)
        _, written = weights.weighted(self.expression, self.calls, first)
        penalties = self._penalty(free), self._penalty(written)
        return Found(best_expression, best, start, count, *penalties)

    def _next(self, path: Path, known: list[float], number: int, point: Any) -> float:
        """The judgement of a point, from the file when it is there."""
        if number < len(known):
            return known[number]
        value = self._judge(point)
        write_judgement(path, number, value)
        return value
