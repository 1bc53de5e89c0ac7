"""Expressions on tasks and languages: only cells that are missing are computed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, takewhile
from typing import Any

import numpy as np
import torch

from xstilts.backbone.activation_cache import FrozenBlocks, MemoryStore, first_block
from xstilts.backbone.backbone import Backbone
from xstilts.composition import predict
from xstilts.composition.expression import needs_language
from xstilts.composition.load import (
    LoadedExpression,
    load_expression,
    own_heads,
    require_head,
    with_head,
)
from xstilts.composition.parser import parse
from xstilts.composition.task_model import TaskModel, serves
from xstilts.config.progress import ProgressFn
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.pairs import BitextPair
from xstilts.errors import UsageError
from xstilts.evaluate.alignment.bitext import align
from xstilts.evaluate.cells import EvaluationJob, Inputs, Precision, jobs_of
from xstilts.evaluate.progress import Count, Within
from xstilts.evaluate.request import Computed, EvaluationOutcome, Request
from xstilts.evaluate.retrieval.neighbours import Vectors
from xstilts.evaluate.retrieval.task import Embed, retrieve
from xstilts.evaluate.retrieval.vectors import SentenceVectors
from xstilts.evaluate.row_cache import Data, RowCache, sides
from xstilts.evaluate.score_rows import identity, score_rows
from xstilts.evaluate.store import ResultCell, ResultStore, Score, cell_key
from xstilts.tasks.encoding import remarks
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.metrics import METRICS
from xstilts.tasks.prediction_files import layout_of
from xstilts.zoo.workspace import Workspace

__all__ = ["EvaluationOutcome", "Evaluator", "Request"]


class Evaluator:
    """Evaluates expressions on one backbone; models, tokenised rows and vectors are shared.

    Args:
        backbone: What the expressions act in.
        workspace: Where data, modules and caches are.
        store: Keeps finished cells.
        precision: `bf16` runs the encoder in bfloat16 autocast, `int8` its projections in 8 bits
            (CPU only, not for whole encoders); scores then carry that flag.
        compiled: Run the blocks through torch.compile; scores are equal to float error.
        rows: Rows that earlier evaluations on the same backbone have read.

    Raises:
        UsageError: int8 is asked for off the CPU, or together with `compiled`.
    """

    def __init__(
        self,
        backbone: Backbone,
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
        self.engine = backbone.in_int8() if precision == "int8" else backbone
        self.vectors = SentenceVectors(self.engine, workspace.cache, precision)
        self.rows = rows or RowCache(backbone, workspace)
        self._loaded: dict[tuple[str, str], LoadedExpression] = {}
        self._frozen: tuple[Any, FrozenBlocks | None] = (None, None)

    def run(
        self, requests: Sequence[Request], progress: ProgressFn, *, force: bool = False
    ) -> EvaluationOutcome:
        """Evaluate everything asked for.

        Raises:
            UsageError: An expression has no head for a task; the message says how to train one. Or
                the backbone cannot read a language.
            NotFoundError: A module, task or language is unknown, or a task has no data at all.
            DataError: Rows are broken, or have no gold labels.
        """
        outcome = EvaluationOutcome()
        self.vectors.padding = outcome.padding
        work, outcome.missing = self._jobs(requests)
        self._require_heads(work)
        said = (remarks(job.task, self.backbone, [job.language]) for job in work)
        outcome.remarks = list(dict.fromkeys(chain.from_iterable(said)))
        # Expressions take turns on the same rows, so that these are read and tokenised once.
        first: dict[Any, int] = {}
        for job in work:
            first.setdefault(job.rows, len(first))
        order = sorted(range(len(work)), key=lambda at: first[work[at].rows])
        done: dict[int, ResultCell] = {}
        try:
            for number, at in enumerate(order):
                following = [work[later] for later in order[number + 1 :]]
                within = Within(progress, work[at], number, len(work))
                within("", 0.0)
                done[at], computed = self._cell(work[at], following, force, within)
                outcome.computed += computed
        finally:
            self.rows.close()
        outcome.cells += [done[at] for at in range(len(work))]
        outcome.differences += self._differences(outcome.cells)
        return outcome

    def plan(
        self, requests: Sequence[Request]
    ) -> tuple[list[tuple[EvaluationJob, bool]], dict[str, str]]:
        """Every cell asked for and whether it is there already, and what has no data.

        See `EvaluationOutcome.missing` for the latter, and `run` for what is raised.
        """
        jobs, missing = self._jobs(requests)
        self._require_heads(jobs)
        there = [self.store.get(cell_key(self._identity(job)[2])) is not None for job in jobs]
        return list(zip(jobs, there, strict=True)), missing

    def inputs(self, request: Request) -> list[Inputs]:
        """What each cell of a request reads; no module is needed.

        Raises:
            NotFoundError: A task or language is unknown, or a task has no data at all.
        """
        found = []
        for job in self._jobs([request])[0]:
            lists = [side for data in self.rows.of(job) for side in sides(data)]
            digests = tuple(self.rows.digest(rows) for rows in lists)
            tokens = sum(self.rows.tokens(rows, job.plain_task) for rows in lists)
            found.append(Inputs(job, digests, sum(map(len, lists)), tokens))
        return found

    def _differences(self, cells: Sequence[ResultCell]) -> Iterator[tuple[Score, float]]:
        """Main scores that are there in float32 too, and by how much they differ from those."""
        for cell in cells if self.precision != "fp32" else ():
            full = self.store.get(cell_key({**cell.identity, "precision": "fp32"}))
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
        self, job: EvaluationJob, following: Sequence[EvaluationJob], force: bool, progress: Within
    ) -> tuple[ResultCell, bool]:
        loaded, data, key = self._identity(job)
        known = None if force else self.store.get(cell_key(key))
        if known:
            return known, False
        coming = next((later for later in following if later.rows != job.rows), None)
        if coming is not None:
            self.rows.prepare(coming)
        began = time.monotonic()
        autocast = torch.autocast(
            self.backbone.device.type, torch.bfloat16, enabled=job.precision == "bf16"
        )
        with autocast, self.backbone.compiled() if self.compiled else nullcontext():
            if job.settings is not None:
                computed = self._retrieve(job, data, progress)
            else:
                frozen = self._shared_blocks(job, following)
                computed = self._predict(job, loaded, data[0], frozen, progress)
        lists = [side for rows in data for side in sides(rows)]
        cut = sum(self.rows.features(rows, job.plain_task).cut for rows in lists)
        rows = score_rows(job, self.backbone, loaded, replace(computed, num_cut=cut))
        seconds = time.monotonic() - began
        kept = computed.text, computed.suffix, computed.outcomes, seconds
        return self.store.put(key, rows, *kept), True

    def _identity(self, job: EvaluationJob) -> tuple[LoadedExpression, list[Data], dict[str, Any]]:
        loaded = self._load(job.request.expression, job.language)
        if job.request.head and job.settings is None:
            loaded = with_head(loaded, job.request.head, self.workspace.zoo, self.backbone)
        data = self.rows.of(job)
        digests = [self.rows.digest(side) for rows in data for side in sides(rows)]
        every = [loaded, *self._of_targets(job, data[0])]
        return loaded, data, identity(job, self.backbone, every, digests)

    def _load(self, expression: str, language: str) -> LoadedExpression:
        key = (expression, language if needs_language(parse(expression)) else "")
        if key not in self._loaded:
            self._loaded[key] = load_expression(
                expression, self.workspace.zoo, self.backbone, key[1]
            )
        whole = self._loaded[key].composed.encoder_weights
        if whole and self.precision == "int8":
            raise UsageError(
                f"'{expression}' replaces the encoder's weights, which int8 cannot",
                hint="Use --precision bf16, or a module on the frozen encoder.",
            )
        return self._loaded[key]

    def _of_targets(self, job: EvaluationJob, data: Data) -> list[LoadedExpression]:
        """The expression for the languages of a target side, where it has modules by language."""
        if not isinstance(data, BitextPair) or not needs_language(parse(job.request.expression)):
            return []
        codes = dict.fromkeys(example.language for example in data.target)
        return [self._load(job.request.expression, code) for code in codes]

    # -- computing

    def _shared_blocks(
        self, job: EvaluationJob, following: Sequence[EvaluationJob]
    ) -> FrozenBlocks | None:
        """The blocks that no expression on these rows touches, where there are several."""
        if self._frozen[0] != job.rows:
            peers = [job, *takewhile(lambda other: other.rows == job.rows, following)]
            counts = [self._untouched(peer) for peer in peers]
            shared = [count for count in counts if count]
            store = MemoryStore()
            blocks = FrozenBlocks(self.engine, min(shared), store) if len(shared) > 1 else None
            self._frozen = job.rows, blocks
        blocks = self._frozen[1]
        return blocks if blocks and self._untouched(job) >= blocks.count else None

    def _untouched(self, job: EvaluationJob) -> int:
        """How many blocks run as they do in the backbone."""
        composed = self._load(job.request.expression, job.language).composed
        total = len(self.backbone.blocks)
        return 0 if composed.encoder_weights else first_block(composed.nodes, total)

    def _predict(
        self,
        job: EvaluationJob,
        loaded: LoadedExpression,
        data: Data,
        frozen: FrozenBlocks | None,
        progress: Within,
    ) -> Computed:
        assert not isinstance(data, BitextPair)
        task, head = job.task, loaded.head_for(job.task)
        assert head is not None  # see _require_heads
        model = TaskModel(self.engine, loaded.composed, {head.task.name: head})
        features = self.rows.features(data, task)
        done = Count(len(features), progress, self.vectors.padding)
        metric = METRICS.get(task.metric)
        about: dict[str, Any] = {"language": job.language, "labels": task.labels}
        with model.attached():
            if not FORMATS.get(task.format).PREDICTS:
                losses = predict.masked_losses(model, features, head.task.name, done=done)
                return Computed(
                    "".join(f"{loss:.6f}\t{count}\n" for loss, count in losses),
                    "tsv",
                    metric.compute(losses, (), **about),
                    metric.outcomes(losses, (), **about),
                    len(losses),
                )
            model.frozen = frozen
            predicted = predict.predictions(model, features, data, head.task.name, task, done=done)
        layout = layout_of(task)
        pair = layout.pair(data, predicted)
        return Computed(
            layout.text(data, predicted),
            layout.suffix,
            metric.compute(*pair, **about),
            metric.outcomes(*pair, **about),
            len(data),
        )

    def _retrieve(self, job: EvaluationJob, data: Sequence[Data], progress: Within) -> Computed:
        assert job.settings is not None
        pairs = [pair for pair in data if isinstance(pair, BitextPair)]
        if job.request.alignment:
            return align(
                pairs[0],
                self._embedding(job, progress),
                lambda _, share: progress("comparing", share),
            )
        return retrieve(
            job.task.metric,
            pairs[0],
            pairs[1] if len(pairs) > 1 else None,
            self._embedding(job, progress),
            job.settings,
            job.language,
            lambda _, share: progress("searching", share),
        )

    def _embedding(self, job: EvaluationJob, progress: Within) -> Embed:
        """What embeds sentences, each with the modules of its own language."""
        by_language = needs_language(parse(job.request.expression))

        def embed(examples: Sequence[Example]) -> Vectors:
            features = self.rows.features(examples, job.plain_task)
            codes = [e.language if by_language else job.language for e in examples]
            parts = dict.fromkeys(codes)
            if len(parts) == 1:
                return self._vectors(job, codes[0], features, progress)
            result = np.empty((len(codes), self.backbone.shape.hidden_size), np.float32)
            for code in parts:
                rows = np.flatnonzero(np.array(codes) == code)
                result[rows] = self._vectors(job, code, features.take(rows), progress)
            return result

        return embed

    def _vectors(
        self, job: EvaluationJob, language: str, features: Features, progress: Within
    ) -> Vectors:
        loaded = self._load(job.request.expression, language)
        return self.vectors.of(
            loaded,
            features,
            job.layer,
            job.pooling,
            lambda _, share: progress("embedding", share),
            layers=job.layers,
        )
