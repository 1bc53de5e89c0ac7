"""Expressions on tasks and languages: only cells that are missing are computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xstilts import library, predict, retrieval
from xstilts.backbone import Backbone
from xstilts.composition import needs_language, parse
from xstilts.config import load_task
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.pairs import BitextPair, load_pair
from xstilts.data.sources import available_languages, data_digest, load, task_in_world
from xstilts.errors import NotFoundError, UsageError
from xstilts.evaluate.results import Cell, ResultStore, Score, cell_key
from xstilts.library import Loaded
from xstilts.metrics import METRICS
from xstilts.model import TaskModel
from xstilts.specs import TaskSpec
from xstilts.tokenised import encode
from xstilts.train.phases import Places

VERSION = 1
"""Raised when an evaluation gives other numbers for the same inputs."""

Told = Callable[[str, float], None]


@dataclass(frozen=True)
class Request:
    """What is to be evaluated.

    Attributes:
        expression: As written.
        label: What stands for it in tables; the expression when empty.
        task: Name of the task.
        languages: Empty means every language of the task that has data.
        split: Empty means the task's own.
        layer: Block for retrieval; -1 means the backbone's default.
        pooling: `mean` or `cls`, for retrieval.
    """

    expression: str
    task: str
    label: str = ""
    languages: tuple[str, ...] = ()
    split: str = ""
    layer: int = -1
    pooling: str = "mean"


@dataclass
class Outcome:
    """What an evaluation did.

    Attributes:
        cells: Every cell asked for, found or computed.
        computed: How many of them were computed now.
        missing: Languages of the task that have no data, as `task/language`.
    """

    cells: list[Cell] = field(default_factory=list)
    computed: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def scores(self) -> list[Score]:
        """The rows of every cell."""
        return [score for cell in self.cells for score in cell.scores]


class Evaluation:
    """Evaluates expressions on one backbone; models and tokenised rows are shared."""

    def __init__(self, backbone: Backbone, places: Places, store: ResultStore) -> None:
        self.backbone, self.places, self.store = backbone, places, store
        self._loaded: dict[tuple[str, str], Loaded] = {}

    def run(self, requests: Sequence[Request], told: Told, *, force: bool = False) -> Outcome:
        """Evaluate everything asked for.

        Raises:
            UsageError: An expression has no head for a task; the message says how to train one.
            NotFoundError: A module, task or language is unknown, or a task has no data at all.
        """
        outcome = Outcome()
        work = [(r, task, lang) for r in requests for task, lang in self._languages(r, outcome)]
        for number, (request, task, language) in enumerate(work):
            told(f"{request.expression} {task.name} {language}", number / len(work))
            cell, computed = self._cell(request, task, language, force)
            outcome.cells.append(cell)
            outcome.computed += computed
        return outcome

    def _languages(self, request: Request, outcome: Outcome) -> list[tuple[TaskSpec, str]]:
        task = task_in_world(load_task(request.task), self.places.data)
        split = request.split or task.eval_split
        for language in request.languages:
            if language not in task.languages:
                kind = f"language of task {task.name}"
                raise NotFoundError.named(kind, language, task.languages)
        if request.languages:
            return [(task, language) for language in request.languages]
        there = available_languages(task, split, self.places.data)
        languages = [language for language in task.languages if language in there]
        if not languages:
            languages = task.languages[:1]  # loading it lists every place that was tried
        outcome.missing += [f"{task.name}/{c}" for c in task.languages if c not in languages]
        return [(task, language) for language in languages]

    def _load(self, expression: str, language: str) -> Loaded:
        key = (expression, language if needs_language(parse(expression)) else "")
        if key not in self._loaded:
            self._loaded[key] = library.load_expression(
                expression, self.places.zoo, self.backbone, key[1]
            )
        return self._loaded[key]

    def _cell(
        self, request: Request, task: TaskSpec, language: str, force: bool
    ) -> tuple[Cell, bool]:
        loaded = self._load(request.expression, language)
        split = request.split or task.eval_split
        is_retrieval = task.format == "retrieval"
        data: Any = (
            self._pair(task, language, split) if is_retrieval else self._rows(task, language, split)
        )
        layer = self._layer(request) if is_retrieval else -1
        identity = self._identity(request, task, language, split, loaded, data, layer)
        known = None if force else self.store.get(cell_key(identity))
        if known:
            return known, False
        began = time.monotonic()
        compute = self._retrieve if is_retrieval else self._predict
        text, suffix, scores, outcomes = compute(task, loaded, language, data, layer, request)
        base = self._score(request, task, language, split, loaded, layer)
        metric = METRICS.get(task.metric)
        n = len(outcomes)
        rows = [
            base.model_copy(
                update={"metric": name, "value": value, "n": n, "main": name == metric.MAIN}
            )
            for name, value in scores.items()
        ]
        seconds = time.monotonic() - began
        return self.store.put(identity, rows, text, suffix, outcomes, seconds), True

    # -- rows

    def _rows(self, task: TaskSpec, language: str, split: str) -> list[Example]:
        places = self.places
        return load(task, split, language, places.data, offline=places.offline)

    def _pair(self, task: TaskSpec, language: str, split: str) -> BitextPair:
        return load_pair(task, language, self.places.data, split, offline=self.places.offline)

    def _features(self, examples: list[Example], task: TaskSpec) -> Features:
        return encode(
            examples,
            data_digest(examples),
            task,
            self.backbone.tokenizer,
            self.backbone.identity.tokenizer_sha256,
            min(task.max_length, self.backbone.max_length),
            self.places.cache,
        )

    def _layer(self, request: Request) -> int:
        layer = request.layer if request.layer >= 0 else self.backbone.retrieval_layer
        if layer > len(self.backbone.blocks):
            raise UsageError(f"layer {layer}: the backbone has {len(self.backbone.blocks)} blocks")
        return layer

    # -- identity and rows of the result

    def _identity(
        self,
        request: Request,
        task: TaskSpec,
        language: str,
        split: str,
        loaded: Loaded,
        data: Any,
        layer: int,
    ) -> dict[str, Any]:
        sides = [data.source, data.target] if isinstance(data, BitextPair) else [data]
        return {
            "version": VERSION,
            "backbone": self.backbone.identity.fingerprint,
            "expression": loaded.digest,
            "label": request.label or request.expression,
            "task": task.name,
            "format": task.format,
            "options": task.options,
            "max_length": task.max_length,
            "metric": task.metric,
            "language": language,
            "split": split,
            "data": [data_digest(side) for side in sides],
            "layer": layer,
            "pooling": request.pooling if layer >= 0 else "",
        }

    def _score(
        self,
        request: Request,
        task: TaskSpec,
        language: str,
        split: str,
        loaded: Loaded,
        layer: int,
    ) -> Score:
        manifest, head = loaded.manifest, loaded.head_for(task)
        trained = sum(entry.manifest.trainable_parameters for entry in loaded.entries)
        return Score(
            expression=request.expression,
            intermediate=request.label or request.expression,
            digest=loaded.digest,
            backbone=self.backbone.identity.name,
            fingerprint=self.backbone.identity.fingerprint,
            method=manifest.preset if manifest else "",
            task=task.name,
            domain=task.domain,
            language=language,
            split=split,
            metric="",
            value=0.0,
            n=0,
            seed=manifest.seed if manifest else -1,
            layer=layer,
            pooling=request.pooling if layer >= 0 else "",
            source_language=_source_language(loaded, task),
            flags=_flags(loaded),
            train_task=head.task.name if head and layer < 0 else "",
            trainable_parameters=trained,
            selection=str(manifest.training.get("selection", "")) if manifest else "",
        )

    # -- computing

    def _predict(
        self,
        task: TaskSpec,
        loaded: Loaded,
        language: str,
        examples: list[Example],
        _layer: int,
        _request: Request,
    ) -> tuple[str, str, dict[str, float], list[Any]]:
        head = loaded.head_for(task)
        if head is None:
            raise UsageError(
                f"'{loaded.expression}' has no head for task {task.name}",
                hint=f"Train one: xstilts compose '{loaded.expression}' --target {task.name} "
                "--save NAME",
            )
        model = TaskModel(self.backbone, loaded.composed, {head.task.name: head})
        with model.attached():
            features = self._features(examples, task)
            predicted = predict.predictions(model, features, examples, head.task.name, task)
        metric = METRICS.get(task.metric)
        pair = predict.comparable(task, examples, predicted)
        scores = metric.compute(*pair, language=language)
        outcomes = metric.outcomes(*pair, language=language)
        text = predict.file_text(task, examples, predicted)
        return text, predict.file_suffix(task), scores, outcomes

    def _retrieve(
        self,
        task: TaskSpec,
        loaded: Loaded,
        language: str,
        pair: BitextPair,
        layer: int,
        request: Request,
    ) -> tuple[str, str, dict[str, float], list[Any]]:
        if task.metric != "tatoeba":
            raise UsageError(f"task {task.name}: mining is not part of this evaluation yet")
        model = TaskModel(self.backbone, loaded.composed, {})
        with model.attached():
            sides = [
                predict.embed(model, self._features(side, task), [layer], request.pooling)[layer]
                for side in (pair.source, pair.target)
            ]
        order = retrieval.pivot_order([example.fields["text"] for example in pair.target])
        gold = {target: source for source, target in pair.gold}
        _, found = retrieval.nearest(sides[1][np.array(order)], sides[0])
        predicted = [str(int(row[0])) for row in found]
        wanted = [str(gold[number]) for number in order]
        metric = METRICS.get(task.metric)
        scores = metric.compute(predicted, wanted, language=language)
        outcomes = metric.outcomes(predicted, wanted, language=language)
        return "".join(f"{line}\n" for line in predicted), "tsv", scores, outcomes


def _source_language(loaded: Loaded, task: TaskSpec) -> str:
    """The languages that the expression was trained on; those of a merge or stack are joined."""
    codes = {
        code
        for entry in loaded.entries
        for code in entry.manifest.source_language.split(",")
        if code and not entry.manifest.languages
    }
    return ",".join(sorted(codes)) or task.source_language


def _flags(loaded: Loaded) -> list[str]:
    """What a reader of a score must know."""
    chosen = (str(entry.manifest.training.get("selection", "")) for entry in loaded.entries)
    return ["target-dev selection"] if any("(target dev)" in text for text in chosen) else []
