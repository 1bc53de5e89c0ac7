"""One training phase: rows to a module in the library, found again when nothing changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Generator, Tensor

from xstilts import library
from xstilts.backbone import Backbone
from xstilts.composed import Composed, compose
from xstilts.config import load_method
from xstilts.data.examples import Example
from xstilts.data.features import Features
from xstilts.data.sources import data_digest
from xstilts.errors import UsageError
from xstilts.files import digest
from xstilts.formats.masked_lm import language_shares
from xstilts.frozen import DiskStore, FrozenBlocks, MemoryStore, first_block
from xstilts.methods import METHODS
from xstilts.model import Head, TaskModel
from xstilts.settings import RunSpec, short_name, tasks_of
from xstilts.sites import Adapter
from xstilts.specs import MixSpec, TaskSpec
from xstilts.tokenised import encode
from xstilts.train import parts as phase_parts
from xstilts.train.checkpoint import put, tidy, weights_of
from xstilts.train.keeping import Finished, keep, keep_steps
from xstilts.train.looks import dev_scores
from xstilts.train.parts import MLM, make_parts
from xstilts.train.processes import Processes
from xstilts.train.stream import Mixture, Stream, micro_tokens
from xstilts.train.trainer import Trainer, TrainResult
from xstilts.zoo import Entry, Zoo
from xstilts.zoo.store import require_name

CODE_VERSION = 2
"""Raised when a training gives other weights for the same inputs."""


@dataclass(frozen=True)
class Places:
    """Where a phase reads and writes, and whom it tells."""

    data: Path | None
    zoo: Zoo
    runs: Path
    cache: Path | None
    offline: bool = False
    quiet: bool = False
    trackers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a phase would do.

    Attributes:
        tokens: Sub-words without padding over the whole run.
        shares: Part to its stated share of the steps.
        cached_bytes: Of cached activations of frozen blocks; 0 without them.
        known: The module, when this very training was done before.
    """

    rows: int
    dev_rows: int
    steps: int
    tokens: int
    shares: Mapping[str, float]
    trainable_parameters: int
    backbone_parameters: int
    disk_bytes: int
    cached_bytes: int
    run: str
    known: Entry | None


class Phase:
    """A training of some tasks on a backbone, over what `below` composes.

    Args:
        tasks: A task, a mixture, or several tasks joined by commas.
        run: Method, options and training settings.
        backbone: Loaded; it is left as it was.
        places: Where to read and write.
        below: Expression that acts, frozen, below the new module.
        apart: Keep the new module by itself, so that something else can act below it later (a
            language adapter of another language).
        init: Module whose weights the new one starts from; empty for a fresh start.
        name: Of the new module; that of `tasks` when empty.
        command: Shown to resume an interrupted run.
    """

    def __init__(
        self,
        tasks: str,
        run: RunSpec,
        backbone: Backbone,
        places: Places,
        *,
        below: str = "none",
        apart: bool = False,
        init: str = "",
        name: str = "",
        command: str = "",
    ) -> None:
        self.run, self.backbone, self.places = run, backbone, places
        self.name, self.command = name or short_name(tasks), command
        require_name(self.name)
        self.preset = load_method(run.method)
        self.method = METHODS.get(self.preset.method)
        self.options = self.method.Options.model_validate(run.options)
        self.expression, self.parents = library.resolve(below, places.zoo, backbone)
        self.apart = apart
        self.init = places.zoo.find(init, backbone.identity) if init else None
        self.tasks = tasks_of(tasks)
        self.parts = make_parts(self.tasks, run, places.data, offline=places.offline)

    @property
    def task(self) -> TaskSpec:
        """The first task."""
        return self.parts[0].task

    @property
    def rows(self) -> list[Example]:
        """The training rows of every part."""
        return [row for part in self.parts for row in part.rows]

    @cached_property
    def heads(self) -> dict[str, TaskSpec]:
        """Head name to the task whose format and labels it speaks."""
        return {part.head: part.task for part in reversed(self.parts)}

    def _features(self, examples: Sequence[Example], task: TaskSpec) -> Features:
        length = self.run.train.max_length or task.max_length
        return encode(
            examples,
            data_digest(examples),
            task,
            self.backbone.tokenizer,
            self.backbone.identity.tokenizer_sha256,
            min(length, self.backbone.max_length),
            self.places.cache,
        )

    def mixture(self) -> Mixture:
        """Where the steps get their rows."""
        tokenizer, spec = self.backbone.tokenizer, self.run.train
        frozen = self.preset.method != "full"
        budget = micro_tokens(self.backbone.device.type, frozen=frozen)
        streams = {
            part.name: Stream(
                part.task, self._features(part.rows, part.task), tokenizer, spec, part.head, budget
            )
            for part in self.parts
        }
        return Mixture(streams, spec, self.mix())

    def mix(self) -> MixSpec:
        """The run's mix, plain text spread over its languages."""
        texts = {part.name: part.size for part in self.parts if part.task.name == MLM}
        if not texts:
            return self.run.mix
        shares = language_shares(texts, self.run.mlm.alpha)
        if len(texts) == len(self.parts):
            return self.run.mix.model_copy(update={"rule": "fixed", "shares": shares})
        whole = self.run.mlm.share or self.run.mix.beside.get(MLM, 0.0)
        beside = {k: v for k, v in self.run.mix.beside.items() if k != MLM}
        beside |= {name: whole * share for name, share in shares.items()}
        return self.run.mix.model_copy(update={"beside": beside})

    # -- identity

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the weights but the modules below and the one started from."""
        outside = {"checkpoint_every", "gradient_checkpointing", "shard"}
        if not self.run.train.cache_activations:
            outside.add("cache_activations")
        return {
            "code": CODE_VERSION,
            "name": self.name,
            "parts": [phase_parts.identity(part) for part in self.parts],
            "mix": self.mix().model_dump(),
            "backbone": self.backbone.identity.fingerprint,
            "method": self.preset.method,
            "options": self.options.model_dump(),
            "apart": self.apart,
            "train": self.run.train.model_dump(exclude=outside),
        }

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the weights."""
        return digest(
            {
                **self.inputs,
                "below": library.pinned(self.expression, self.parents),
                "init": self.init.manifest.digest if self.init else "",
            }
        )

    def step_key(self, step: int) -> str:
        """What stands for the weights at a step of `train.save_every`, instead of `key`."""
        return digest([self.key, step])

    def plan(self) -> Plan:
        """What `execute` would do; nothing is written but the cache of tokenised rows."""
        model, _, _ = self._model()
        trainable = self.trainable(model)
        mixture = self.mixture()
        steps = mixture.total_steps()
        mean = {
            name: stream.tokens.mean() * self.run.train.batch_size
            for name, stream in mixture.streams.items()
        }
        return Plan(
            rows=sum(len(part.rows) for part in self.parts),
            dev_rows=sum(len(dev.rows) for part in self.parts for dev in part.dev),
            steps=steps,
            tokens=round(steps * sum(mean[name] * s for name, s in mixture.shares.items())),
            shares=mixture.shares,
            trainable_parameters=trainable,
            backbone_parameters=sum(p.numel() for p in self.backbone.encoder.parameters()),
            disk_bytes=4 * trainable,
            cached_bytes=self._cached_bytes(mixture) if model.frozen else 0,
            run=self.key,
            known=self.places.zoo.find_run(self.key),
        )

    def trainable(self, model: TaskModel) -> int:
        """How many numbers train; full fine-tuning trains copies of the encoder's."""
        whole = self.preset.method == "full"
        encoder = self.backbone.encoder.parameters() if whole else ()
        return model.trainable_parameters + sum(p.numel() for p in encoder)

    def _cached_bytes(self, mixture: Mixture) -> int:
        """Size of all rows' cached activations, float32."""
        rows = [stream.features for stream in mixture.streams.values()]
        rows += [self._features(dev.rows, dev.task) for part in self.parts for dev in part.dev]
        return 4 * self.backbone.shape.hidden_size * sum(int(f.lengths.sum()) for f in rows)

    # -- work

    def execute(self, *, force: bool = False) -> Entry:
        """Train and keep the module, or return the one that this very training made before.

        With several processes, the first one writes and all return what it kept.

        Raises:
            InterruptedRunError: Ctrl-C; the same command resumes.
            DataError: A row is broken.
        """
        known = self.places.zoo.find_run(self.key)
        if known and not force:
            return known
        folder = self.places.runs / self.key[:16]
        processes = Processes(
            self.run.train.precision,
            trackers=self.places.trackers,
            folder=folder,
            run=(self.name, self.run.train.model_dump()),
        )
        with processes.alone_in(folder, self._tell):
            known = self.places.zoo.find_run(self.key)
            if known is None or force:
                known = self._make(folder, processes)
        processes.close()
        return known

    def _tell(self) -> None:
        if not self.places.quiet:
            print("another process trains this very module; waiting for it", file=sys.stderr)

    def _make(self, folder: Path, processes: Processes) -> Entry:
        sharded = self.run.train.shard and processes.count > 1
        shown = self._train_in_shards(folder, processes) if sharded else None
        model, own, below = self._model()
        with self._training(model, own):
            # the encoder's own stop being trainable when training ends
            trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
            if shown is None:
                result = self._train(model, folder, processes)
            else:
                result, weights = shown
                put(trained, weights)
            if processes.first:
                done = Finished(model, own, below, result)
                keep_steps(self, done, folder, trained)
                entry = keep(self, done)
                tidy(folder)
        processes.wait()
        kept = entry if processes.first else self.places.zoo.find_run(self.key)
        assert kept is not None
        return kept

    def _model(self) -> tuple[TaskModel, Adapter, Composed]:
        """The model to be trained, only what is new requiring gradients; its new part; the rest."""
        generator = Generator().manual_seed(self.run.train.seed)
        own: Adapter = self.method.create(self.backbone.shape, self.options, generator)
        heads = {
            name: Head.new(task, self.backbone, generator) for name, task in self.heads.items()
        }
        if self.init:
            own = library.start_from(own, self.init, self.places.zoo, self.backbone)
        below = self._below(generator)
        composed = library.on_top(below, own, self.backbone)
        model = TaskModel(self.backbone, composed, heads)
        model.requires_grad_(False)
        model.heads.requires_grad_(True)
        own.requires_grad_(True)
        for parameter in below.learned().values():
            parameter.requires_grad_(True)
        model.frozen = self._frozen_blocks(model)
        return model.to(self.backbone.device), own, below

    def _frozen_blocks(self, model: TaskModel) -> FrozenBlocks | None:
        """What runs the blocks below the first that trains, where the settings ask for it."""
        if not self.run.train.cache_activations:
            return None
        total = len(self.backbone.blocks)
        nodes = model.composed.nodes.items()
        trained = [k for k, node in nodes if any(p.requires_grad for p in node.parameters())]
        count = 0 if self.preset.method == "full" else first_block(trained, total)
        texts = [part.name for part in self.parts if part.task.name == MLM]
        if count == 0 or texts:
            what = "masks change every row" if texts else "something trains in the first block"
            raise UsageError(
                f"there are no activations to cache: {what}",
                hint=f"Leave blocks out, --set options.leave_out=[0,1] of {total}, or train only a "
                "head, --method head.",
            )
        if self.places.cache is None:
            return FrozenBlocks(self.backbone, count, MemoryStore())
        below = library.pinned(self.expression, self.parents)
        name = digest([self.backbone.identity.fingerprint, below, count])[:32]
        path = self.places.cache / "activations" / f"{name}.sqlite"
        store = DiskStore(path, self.backbone.shape.hidden_size)
        return FrozenBlocks(self.backbone, count, store)

    def _below(self, generator: Generator) -> Composed:
        """What is below, the operators' own parameters freshly drawn."""
        zoo = self.places.zoo
        modules = {n: library.load_module(e, zoo, self.backbone) for n, e in self.parents.items()}
        return compose(self.expression, modules, self.backbone.shape, generator)

    def _training(self, model: TaskModel, own: Adapter) -> AbstractContextManager[TaskModel]:
        """Attach the model; full fine-tuning works on copies of the encoder's weights."""
        if self.preset.method == "full":
            start = own.encoder_weights or model.composed.encoder_weights
            own.base = {name: p.detach() for name, p in self.backbone.encoder.named_parameters()}
            weights = {
                name: start.get(name, p.detach()).to(self.backbone.device, copy=True)
                for name, p in self.backbone.encoder.named_parameters()
            }
            own.encoder_weights = weights
            model.composed.encoder_weights = weights
            self.backbone.encoder.requires_grad_(True)
        return model.attached()

    def _train(self, model: TaskModel, folder: Path, processes: Processes) -> TrainResult:
        with self._trainer(model, folder, processes) as trainer:
            return trainer.run()

    def _train_in_shards(
        self, folder: Path, processes: Processes
    ) -> tuple[TrainResult, dict[str, Tensor]]:
        """Train on a copy of the backbone that is spread over the processes; the weights, whole."""
        phase = copy(self)
        phase.backbone = self.backbone.copy()
        model, own, _ = phase._model()
        encoder, composed = phase.backbone.encoder, model.composed
        encoder.load_state_dict(own.encoder_weights or composed.encoder_weights or {}, strict=False)
        composed.encoder_weights = {}
        encoder.requires_grad_(self.preset.method == "full")
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        with model.attached():
            result = phase._train(model, folder, processes)
            return result, weights_of({name: model.get_parameter(name) for name in trained})

    @contextmanager
    def _trainer(self, model: TaskModel, folder: Path, processes: Processes) -> Iterator[Trainer]:
        """A trainer of the model; the encoder is as before when the block ends."""
        encoder, checkpointing = self.backbone.encoder, self.run.train.gradient_checkpointing
        if checkpointing:
            encoder.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            yield Trainer(
                model,
                self.mixture(),
                self.run.train,
                folder,
                inputs=self.key,
                evaluate=dev_scores(model, self.parts, self._features),
                processes=processes,
                resume_command=self.command,
                quiet=self.places.quiet,
                title=f"{self.name} {self.run.method}",
                blocks=self.backbone.shape.num_layers,
                shards=list(self.backbone.blocks),
            )
        finally:
            if checkpointing:
                encoder.gradient_checkpointing_disable()
            encoder.requires_grad_(False)
            encoder.eval()

    @contextmanager
    def rehearsal(self, folder: Path) -> Iterator[Trainer]:
        """A trainer of a model that is thrown away when the block ends."""
        model, own, _ = self._model()
        processes = Processes.alone(self.run.train.precision)
        with self._training(model, own), self._trainer(model, folder, processes) as trainer:
            yield trainer
