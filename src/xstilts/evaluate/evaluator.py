"""Expressions on tasks and languages: only cells that are missing are computed.

What is known already is found without the backbone's weights, and without torch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from xstilts.backbone.known import KnownBackbone
from xstilts.composition.expression import needs_language
from xstilts.composition.parser import parse
from xstilts.composition.resolve import (
    expression_digest,
    modules_read,
    own_heads,
    require_head,
    serves,
)
from xstilts.config.progress import ProgressFn
from xstilts.errors import NotFiniteError, UsageError
from xstilts.evaluate.cells import EvaluationJob, Inputs, Precision, jobs_of
from xstilts.evaluate.progress import Within
from xstilts.evaluate.request import EvaluationOutcome, Request
from xstilts.evaluate.row_cache import RowCache, RowFacts, sides
from xstilts.evaluate.score_rows import identity, score_rows
from xstilts.evaluate.store import ResultCell, ResultStore, Score
from xstilts.tasks.encoding import remarks
from xstilts.tasks.formats import FORMATS
from xstilts.zoo.verify import require_whole
from xstilts.zoo.workspace import Workspace

if TYPE_CHECKING:  # cells that are there are found without torch
    from xstilts.evaluate.computing import CellComputer

__all__ = ["EvaluationOutcome", "Evaluator", "Request"]


class Evaluator:
    """Evaluates expressions on one backbone; models, tokenised rows and vectors are shared.

    Args:
        backbone: What the expressions act in; loaded when the first cell is computed.
        workspace: Where data, modules and caches are.
        store: Keeps finished cells.
        precision: `bf16` runs the encoder in bfloat16 autocast, `int8` its projections in 8 bits
            (CPU only, not for whole encoders); scores then carry that flag.
        compiled: Run the blocks through torch.compile; scores are equal to float error.
        rows: Rows that earlier evaluations on the same backbone have read.

    Raises:
        UsageError: int8 is asked for together with `compiled`.
    """

    def __init__(
        self,
        backbone: KnownBackbone,
        workspace: Workspace,
        store: ResultStore,
        precision: Precision = "fp32",
        rows: RowCache | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        if compiled and precision == "int8":
            raise UsageError("int8 is not compiled", hint="Use --precision bf16 with --compile.")
        self.backbone, self.workspace, self.store = backbone, workspace, store
        self.compiled = compiled
        self.precision = precision
        self.rows = rows or RowCache(backbone, workspace)
        self._digests: dict[tuple[str, str, str], str] = {}
        self._whole: set[tuple[str, str, str]] = set()

    @cached_property
    def _computer(self) -> CellComputer:
        loaded = self.backbone.loaded
        from xstilts.evaluate.computing import CellComputer

        return CellComputer(
            loaded, self.workspace, self.rows, self.precision, compiled=self.compiled
        )

    def run(
        self, requests: Sequence[Request], progress: ProgressFn, *, force: bool = False
    ) -> EvaluationOutcome:
        """Evaluate every cell that is asked for and not in the store.

        Raises:
            UsageError: An expression has no head for a task; the message says how to train one. Or
                int8 is asked for off the CPU, or the backbone cannot read a language.
            NotFoundError: A module, task or language is unknown, or a task has no data at all.
            DataError: Rows are broken, or have no gold labels.
            IntegrityError: A module's files are not those of its manifest.
        """
        outcome = EvaluationOutcome()
        work, outcome.missing = self._jobs(requests)
        done = {} if force else self._found(work)
        if done:
            self._require_whole()
        self._require_heads([job for at, job in enumerate(work) if at not in done])
        said = (remarks(job.task, self.backbone, [job.language]) for job in work)
        outcome.remarks = list(dict.fromkeys(chain.from_iterable(said)))
        # Expressions take turns on the same rows, so that these are read and tokenised once.
        first: dict[Any, int] = {}
        for job in work:
            first.setdefault(job.rows, len(first))
        order = [at for at in range(len(work)) if at not in done]
        order.sort(key=lambda at: first[work[at].rows])
        try:
            for number, at in enumerate(order):
                following = [work[later] for later in order[number + 1 :]]
                within = Within(progress, work[at], number, len(order))
                within("reading rows", 0.0)
                done[at], computed = self._cell(work[at], following, force, within, outcome)
                outcome.computed += computed
        finally:
            self.rows.close()
        outcome.cells += [done[at] for at in range(len(work))]
        outcome.differences += self._differences(outcome.cells)
        return outcome

    def plan(
        self, requests: Sequence[Request]
    ) -> tuple[list[tuple[EvaluationJob, bool]], dict[str, str]]:
        """Every cell asked for and whether it is there already, and what is left out.

        See `EvaluationOutcome.missing` for the latter, and `run` for what is raised.
        """
        jobs, missing = self._jobs(requests)
        found = self._found(jobs)
        rest = [at for at in range(len(jobs)) if at not in found]
        self._require_heads([jobs[at] for at in rest])
        there = {at for at in rest if self.store.find(self._identity(jobs[at]))}
        return [(job, at in found or at in there) for at, job in enumerate(jobs)], missing

    def _found(self, jobs: Sequence[EvaluationJob]) -> dict[int, ResultCell]:
        """The finished ones among cells whose rows need not be read to know them, by place."""
        found = {}
        for at, job in enumerate(jobs):
            rows = self.rows.known(job)
            cell = rows and self.store.find(self._identity(job, rows))
            if cell:
                found[at] = cell
        return found

    def inputs(self, request: Request) -> tuple[list[Inputs], dict[str, str]]:
        """What each cell of a request reads, and what is left out; no module is needed.

        See `EvaluationOutcome.missing` for the latter.

        Raises:
            NotFoundError: A task or language is unknown, or a task has no data at all.
        """
        found = []
        jobs, missing = self._jobs([request])
        for job in jobs:
            lists = [side for data in self.rows.of(job) for side in sides(data)]
            digests = tuple(self.rows.digest(rows) for rows in lists)
            tokens = sum(self.rows.tokens(rows, job.plain_task) for rows in lists)
            found.append(Inputs(job, digests, sum(map(len, lists)), tokens))
        return found, missing

    def _differences(self, cells: Sequence[ResultCell]) -> Iterator[tuple[Score, float]]:
        """Main scores that are there in float32 too, and by how much they differ from those."""
        for cell in cells if self.precision != "fp32" else ():
            full = self.store.find({**cell.identity, "precision": "fp32"})
            values = {score.metric: score.value for score in full.scores} if full else {}
            for score in cell.scores:
                if score.main and score.metric in values:
                    yield score, score.value - values[score.metric]

    def _jobs(self, requests: Sequence[Request]) -> tuple[list[EvaluationJob], dict[str, str]]:
        jobs, missing = jobs_of(requests, self.backbone, self.workspace.data, self.precision)
        return [self._labelled(job) for job in jobs], missing

    def _labelled(self, job: EvaluationJob) -> EvaluationJob:
        """The job, with the labels of the head that predicts where its task states none."""
        task = job.task
        if task.labels or not FORMATS.get(task.format).LABEL_SET:
            return job
        text = job.request.head or job.request.expression
        language = job.language if needs_language(parse(text)) else ""
        for own in own_heads(text, self.workspace.zoo, self.backbone, language):
            if serves(own, task):
                return replace(job, task=task.model_copy(update={"labels": own.labels}))
        return job

    def _require_heads(self, jobs: Sequence[EvaluationJob]) -> None:
        """Refuse expressions that cannot predict a task before any weight is read."""
        asked = {}
        for job in jobs:
            if job.settings is None:
                text = job.request.expression
                language = job.language if needs_language(parse(text)) else ""
                asked[text, job.task.name, language, job.request.head] = job.task
        for (text, _, language, head), task in asked.items():
            require_head(text, self.workspace.zoo, self.backbone, task, language, head)

    # -- one cell

    def _cell(
        self,
        job: EvaluationJob,
        following: Sequence[EvaluationJob],
        force: bool,
        progress: Within,
        outcome: EvaluationOutcome,
    ) -> tuple[ResultCell, bool]:
        key = self._identity(job)
        known = None if force else self.store.find(key)
        if known:
            self._require_whole()
            return known, False
        computer, data = self._computer, self.rows.of(job)
        progress("computing", 0.0)
        coming = next((later for later in following if later.rows != job.rows), None)
        if coming is not None:
            self.rows.prepare(coming)
        began = time.monotonic()
        try:
            computed, loaded = computer.compute(job, data, following, progress, outcome.padding)
        except NotFiniteError as error:
            error.where = f"{progress.name}: {error.where}" if error.where else progress.name
            raise
        rows = score_rows(job, self.backbone, loaded, computed)
        seconds = time.monotonic() - began
        kept = computed.text, computed.suffix, computed.outcomes, seconds
        return self.store.put(key, rows, *kept), True

    def _identity(self, job: EvaluationJob, rows: RowFacts | None = None) -> dict[str, Any]:
        """Everything that decides the outcome of a cell; its rows are read where none are given."""
        rows = rows or self.rows.facts(job)
        text, head = job.request.expression, job.request.head if job.settings is None else ""
        digests = [self._digest(text, job.language, head)]
        if needs_language(parse(text)):
            digests += [self._digest(text, code) for code in rows.target_languages]
        return identity(job, self.backbone, digests, rows.digests)

    def _digest(self, text: str, language: str, head: str = "") -> str:
        key = text, language if needs_language(parse(text)) else "", head
        if key not in self._digests:
            zoo = self.workspace.zoo
            self._digests[key] = expression_digest(text, zoo, self.backbone, key[1], head)
        return self._digests[key]

    def _require_whole(self) -> None:
        """Refuse kept scores of modules whose files are no longer what their manifests say."""
        workspace = self.workspace
        for text, language, head in self._digests.keys() - self._whole:
            for entry in modules_read(text, workspace.zoo, self.backbone, language, head):
                require_whole(entry.folder, workspace.cache)
        self._whole.update(self._digests)
