"""One training phase: rows to a module in the library, found again when nothing changed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from xstilts import __version__, library, predict
from xstilts.backbone import Backbone
from xstilts.composed import Composed, compose
from xstilts.config import load_method, load_task
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.sources import data_digest, load, task_in_world
from xstilts.errors import NotFoundError
from xstilts.files import digest
from xstilts.formats import FORMATS, check_targets, with_labels
from xstilts.methods import METHODS
from xstilts.metrics import METRICS
from xstilts.model import Head, TaskModel
from xstilts.settings import RunSpec
from xstilts.sites import Adapter
from xstilts.specs import TaskSpec
from xstilts.tokenised import encode
from xstilts.train.stream import Stream
from xstilts.train.trainer import Trainer, TrainResult
from xstilts.zoo import Entry, Manifest, Zoo, write_manifest
from xstilts.zoo.manifest import Parent
from xstilts.zoo.store import require_name

CODE_VERSION = 1
"""Raised when a training gives other weights for the same inputs."""


@dataclass(frozen=True)
class Places:
    """Where a phase reads and writes."""

    data: Path | None
    zoo: Zoo
    runs: Path
    cache: Path | None
    offline: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Plan:
    """What a phase would do.

    Attributes:
        known: The module, when this very training was done before.
    """

    rows: int
    dev_rows: int
    steps: int
    trainable_parameters: int
    backbone_parameters: int
    disk_bytes: int
    run: str
    known: Entry | None


class Phase:
    """A training of `task` on a backbone, over what `below` composes.

    Args:
        task: Name of the task.
        run: Method, options and training settings.
        backbone: Loaded; it is left as it was.
        places: Where to read and write.
        below: Expression that acts, frozen, below the new module.
        name: Of the new module; the task's when empty.
        command: Shown to resume an interrupted run.
    """

    def __init__(
        self,
        task: str,
        run: RunSpec,
        backbone: Backbone,
        places: Places,
        *,
        below: str = "none",
        name: str = "",
        command: str = "",
    ) -> None:
        self.run, self.backbone, self.places = run, backbone, places
        self.below, self.name, self.command = below, name or task, command
        require_name(self.name)
        self.preset = load_method(run.method)
        self.method = METHODS.get(self.preset.method)
        self.options = self.method.Options.model_validate(run.options)
        self.expression, self.parents = library.resolve(below, places.zoo, backbone)
        spec = task_in_world(load_task(task), places.data)
        self.task = with_labels(spec, self._load(spec, "train"))

    # -- rows

    def _load(self, task: TaskSpec, split: str) -> list[Example]:
        limit = self.run.train.limit if split == "train" else 0
        seed = self.run.train.seed
        language = task.source_language
        places = self.places
        return load(
            task, split, language, places.data, offline=places.offline, limit=limit, seed=seed
        )

    @cached_property
    def rows(self) -> list[Example]:
        """Training rows in the source language."""
        examples = self._load(self.task, "train")
        if FORMATS.get(self.task.format).LABELLED:
            check_targets(examples)
        return examples

    @cached_property
    def dev_rows(self) -> list[Example]:
        """Rows of the source language that pick the checkpoint; empty when the last one is kept."""
        if not self.task.select_split or not FORMATS.get(self.task.format).PREDICTS:
            return []
        try:
            return self._load(self.task, self.task.select_split)
        except NotFoundError:
            return []

    def _features(self, examples: list[Example]) -> Features:
        length = self.run.train.max_length or self.task.max_length
        return encode(
            examples,
            data_digest(examples),
            self.task,
            self.backbone.tokenizer,
            self.backbone.identity.tokenizer_sha256,
            min(length, self.backbone.max_length),
            self.places.cache,
        )

    # -- identity

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the weights."""
        return digest(
            {
                "code": CODE_VERSION,
                "name": self.name,
                "task": self.task.model_dump(exclude={"sources", "note", "title"}),
                "rows": data_digest(self.rows),
                "dev": data_digest(self.dev_rows),
                "backbone": self.backbone.identity.fingerprint,
                "method": self.preset.method,
                "options": self.options.model_dump(),
                "below": library.pinned(self.expression, self.parents),
                "train": self.run.train.model_dump(exclude={"checkpoint_every"}),
            }
        )

    def plan(self) -> Plan:
        """What `execute` would do; nothing is written."""
        model, _, _ = self._model()
        trainable = model.trainable_parameters
        if self.preset.method == "full":
            trainable += sum(p.numel() for p in self.backbone.encoder.parameters())
        spec = self.run.train
        steps = spec.max_steps or -(-len(self.rows) // spec.batch_size) * spec.epochs
        return Plan(
            rows=len(self.rows),
            dev_rows=len(self.dev_rows),
            steps=int(steps),
            trainable_parameters=trainable,
            backbone_parameters=sum(p.numel() for p in self.backbone.encoder.parameters()),
            disk_bytes=4 * trainable,
            run=self.key,
            known=self.places.zoo.find_run(self.key),
        )

    # -- work

    def execute(self, *, force: bool = False) -> Entry:
        """Train and keep the module, or return the one that this very training made before.

        Raises:
            InterruptedRunError: Ctrl-C; the same command resumes.
            DataError: A row is broken.
        """
        known = self.places.zoo.find_run(self.key)
        if known and not force:
            return known
        model, own, below = self._model()
        folder = self.places.runs / self.key[:16]
        with self._training(model, own):
            result = self._train(model, folder)
            entry = self.places.zoo.add(lambda at: self._save(at, model, own, below, result))
        shutil.rmtree(folder, ignore_errors=True)
        return entry

    def _model(self) -> tuple[TaskModel, Adapter, Composed]:
        """The model to be trained, only what is new requiring gradients; its new part; the rest."""
        generator = Generator().manual_seed(self.run.train.seed)
        own: Adapter = self.method.create(self.backbone.shape, self.options, generator)
        head = Head.new(self.task, self.backbone, generator)
        below = self._below(generator)
        composed = library.on_top(below, own, self.backbone)
        model = TaskModel(self.backbone, composed, {self.task.name: head})
        model.requires_grad_(False)
        head.module.requires_grad_(True)
        own.requires_grad_(True)
        for parameter in below.learned().values():
            parameter.requires_grad_(True)
        return model, own, below

    def _below(self, generator: Generator) -> Composed:
        """What is below, the operators' own parameters freshly drawn."""
        zoo = self.places.zoo
        modules = {n: library.load_module(e, zoo, self.backbone) for n, e in self.parents.items()}
        return compose(self.expression, modules, self.backbone.shape, generator)

    def _training(self, model: TaskModel, own: Adapter) -> Any:
        """Attach the model; full fine-tuning works on copies of the encoder's weights."""
        if self.preset.method == "full":
            start = model.composed.encoder_weights
            weights = {
                name: start.get(name, p.detach()).clone()
                for name, p in self.backbone.encoder.named_parameters()
            }
            own.encoder_weights = weights
            model.composed.encoder_weights = weights
            self.backbone.encoder.requires_grad_(True)
        return model.attached()

    def _train(self, model: TaskModel, folder: Path) -> TrainResult:
        stream = Stream(
            self.task, self._features(self.rows), self.backbone.tokenizer, self.run.train
        )
        trainer = Trainer(
            model,
            stream,
            self.run.train,
            folder,
            inputs=self.key,
            evaluate=self._evaluator(model) if self.dev_rows else None,
            resume_command=self.command,
            quiet=self.places.quiet,
            title=f"{self.name} {self.run.method}",
        )
        try:
            return trainer.run()
        finally:
            self.backbone.encoder.requires_grad_(False)
            self.backbone.encoder.eval()

    def _evaluator(self, model: TaskModel) -> Any:
        features = self._features(self.dev_rows)
        metric = METRICS.get(self.task.metric)

        def score() -> float:
            predicted = predict.predictions(
                model, features, self.dev_rows, self.task.name, self.task
            )
            pair = predict.comparable(self.task, self.dev_rows, predicted)
            values = metric.compute(*pair, language=self.task.source_language)
            return float(values[metric.MAIN])

        return score

    # -- keeping

    def _save(
        self, folder: Path, model: TaskModel, own: Adapter, below: Composed, result: TrainResult
    ) -> Manifest:
        self.method.save(own, folder, self.name, self.backbone)
        library.save_learned(below, folder)
        library.save_head(Head(self.task, model.heads[self.task.name]), folder)
        manifest = self._manifest(model, result)
        return write_manifest(folder, manifest)

    def _manifest(self, model: TaskModel, result: TrainResult) -> Manifest:
        composition = library.pinned(self.expression, self.parents)
        pairs = ((name, e.manifest.digest) for name, e in self.parents.items())
        return Manifest(
            name=self.name,
            kind="composition" if self.parents else self.method.KIND,
            task=self.task.name,
            format=self.task.format,
            family=self.task.head_family,
            method=self.preset.method,
            preset=self.run.method,
            options=self.options.model_dump(),
            backbone=self.backbone.identity,
            composition=composition,
            parents=[Parent(reference=name, digest=value) for name, value in pairs],
            labels=self.task.labels,
            source_language=self.task.source_language,
            seed=self.run.train.seed,
            run=self.key,
            training={
                "settings": self.run.train.model_dump(),
                "steps": result.steps,
                "kept_step": result.best_step,
                "dev_score": result.best_score,
                "stopped_early": result.stopped_early,
                "selection": self._selection(),
            },
            data=[self._data("train", self.rows), self._data("dev", self.dev_rows)],
            versions={"xstilts": __version__, **{p: version(p) for p in ("torch", "transformers")}},
            trainable_parameters=model.trainable_parameters,
            probe=probe(model),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _selection(self) -> str:
        if self.run.train.select == "last" or not self.dev_rows:
            return "last checkpoint"
        return f"best {self.task.source_language} {self.task.select_split} {self.task.metric}"

    def _data(self, split: str, examples: list[Example]) -> dict[str, Any]:
        return {
            "task": self.task.name,
            "split": split,
            "language": self.task.source_language,
            "rows": len(examples),
            "sha256": data_digest(examples),
        }


@torch.inference_mode()
def probe(model: TaskModel) -> list[float]:
    """First values of the encoder's output on fixed ids, while the composition is attached."""
    model.eval()
    size = model.backbone.identity.vocab_size
    ids = (torch.arange(8)[None, :] * 7 + 5) % size
    ids = ids.to(model.backbone.device)
    output = model.backbone(ids, torch.ones_like(ids))
    return [round(float(value), 6) for value in output[0, 0, :8]]
