"""Computing cells: predictions of a head, neighbours of sentence vectors, measures of alignment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np
import torch

from xstilts.backbone.activation_cache import FrozenBlocks, MemoryStore, first_block
from xstilts.backbone.backbone import Backbone
from xstilts.composition import predict
from xstilts.composition.expression import needs_language
from xstilts.composition.load import LoadedExpression, load_expression, with_head
from xstilts.composition.parser import parse
from xstilts.composition.task_model import TaskModel
from xstilts.data.batching import Padding
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.pairs import BitextPair
from xstilts.errors import UsageError
from xstilts.evaluate.alignment.bitext import align
from xstilts.evaluate.cells import EvaluationJob, Precision
from xstilts.evaluate.progress import Count, Within
from xstilts.evaluate.request import Computed
from xstilts.evaluate.retrieval.neighbours import Vectors
from xstilts.evaluate.retrieval.task import Embed, retrieve
from xstilts.evaluate.retrieval.vectors import SentenceVectors
from xstilts.evaluate.row_cache import CellRows, RowCache, sides
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.metrics import METRICS
from xstilts.tasks.prediction_files import layout_of
from xstilts.zoo.workspace import Workspace


class CellComputer:
    """Computes cells on a backbone; loaded expressions, frozen blocks and vectors are shared.

    Args:
        backbone: What the expressions act in.
        workspace: Where modules and caches are.
        rows: Gives the rows as sub-words.
        precision: See `Evaluator`.
        compiled: See `Evaluator`.

    Raises:
        UsageError: int8 is asked for off the CPU.
    """

    def __init__(
        self,
        backbone: Backbone,
        workspace: Workspace,
        rows: RowCache,
        precision: Precision,
        *,
        compiled: bool,
    ) -> None:
        self.backbone, self.workspace, self.rows = backbone, workspace, rows
        self.precision, self.compiled = precision, compiled
        self.computing = backbone.in_int8() if precision == "int8" else backbone
        self.vectors = SentenceVectors(self.computing, workspace.cache, precision)
        self._loaded: dict[tuple[str, str], LoadedExpression] = {}
        self._frozen: tuple[Any, FrozenBlocks | None] = (None, None)

    def compute(
        self,
        job: EvaluationJob,
        data: Sequence[CellRows],
        following: Sequence[EvaluationJob],
        progress: Within,
        padding: Padding,
    ) -> tuple[Computed, LoadedExpression]:
        """What a cell gives, and the expression that gave it.

        Args:
            job: The cell.
            data: Its rows, see `RowCache.of`.
            following: The cells that come next; of those on the same rows some blocks are shared.
            progress: Is told the share that is done.
            padding: The batches' is added to it.
        """
        self.vectors.padding = padding
        loaded = self._load(job.request.expression, job.language)
        if job.request.head and job.settings is None:
            loaded = with_head(loaded, job.request.head, self.workspace.zoo, self.backbone)
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
        return replace(computed, num_cut=cut), loaded

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

    def _shared_blocks(
        self, job: EvaluationJob, following: Sequence[EvaluationJob]
    ) -> FrozenBlocks | None:
        """The blocks that no expression on these rows touches, where there are several."""
        if self._frozen[0] != job.rows:
            peers = [job, *takewhile(lambda other: other.rows == job.rows, following)]
            counts = [self._untouched(peer) for peer in peers]
            shared = [count for count in counts if count]
            store = MemoryStore()
            blocks = FrozenBlocks(self.computing, min(shared), store) if len(shared) > 1 else None
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
        data: CellRows,
        frozen: FrozenBlocks | None,
        progress: Within,
    ) -> Computed:
        assert not isinstance(data, BitextPair)
        task, head = job.task, loaded.head_for(job.task)
        assert head is not None  # see _require_heads
        model = TaskModel(self.computing, loaded.composed, {head.task.name: head})
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

    def _retrieve(self, job: EvaluationJob, data: Sequence[CellRows], progress: Within) -> Computed:
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
