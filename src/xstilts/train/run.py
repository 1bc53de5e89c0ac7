"""How a phase's module is made: its model is built, trained on its backbone, and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Generator, Tensor

from xstilts import library
from xstilts.composed import Composed, compose
from xstilts.errors import UsageError
from xstilts.files import digest
from xstilts.frozen import DiskStore, FrozenBlocks, MemoryStore, first_block
from xstilts.model import Head, TaskModel
from xstilts.sites import Adapter
from xstilts.train.checkpoint import put, tidy, weights_of
from xstilts.train.keeping import keep, keep_steps
from xstilts.train.looks import dev_scores
from xstilts.train.parts import MLM
from xstilts.train.processes import Processes
from xstilts.train.trainer import Trainer, TrainResult
from xstilts.zoo import Entry

if TYPE_CHECKING:
    from xstilts.train.phases import Phase


@dataclass(frozen=True)
class Built:
    """A phase's model.

    Attributes:
        model: The whole, on its backbone; only what the phase trains requires gradients.
        own: The new module in it.
        below: What acts below that.
    """

    model: TaskModel
    own: Adapter
    below: Composed


def make(phase: Phase, folder: Path, processes: Processes) -> Entry:
    """Train a phase's module and keep it; with several processes, the first one writes.

    Args:
        phase: Which.
        folder: Where checkpoints go until the module is kept.
        processes: That train together.
    """
    sharded = phase.run.train.shard and processes.count > 1
    shown = _train_in_shards(phase, folder, processes) if sharded else None
    built = build(phase)
    with _attached(phase, built):
        # the encoder's own stop being trainable when training ends
        trained = {n: p for n, p in built.model.named_parameters() if p.requires_grad}
        if shown is None:
            result = _train(phase, built.model, folder, processes)
        else:
            result, weights = shown
            put(trained, weights)
        if processes.first:
            keep_steps(phase, built, result, folder, trained)
            entry = keep(phase, built, result)
            tidy(folder)
    processes.wait()
    kept = entry if processes.first else phase.places.zoo.find_run(phase.key)
    assert kept is not None
    return kept


@contextmanager
def rehearsal(phase: Phase, folder: Path) -> Iterator[Trainer]:
    """A trainer of a model that is thrown away when the block ends."""
    built = build(phase)
    processes = Processes.alone(phase.run.train.precision)
    with _attached(phase, built), _trainer(phase, built.model, folder, processes) as trainer:
        yield trainer


# -- the model


def build(phase: Phase) -> Built:
    """The model to be trained, freshly drawn from the phase's seed, on its backbone's device."""
    backbone = phase.backbone
    generator = Generator().manual_seed(phase.run.train.seed)
    own: Adapter = phase.method.create(backbone.shape, phase.options, generator)
    heads = {name: Head.new(task, backbone, generator) for name, task in phase.heads.items()}
    if phase.init:
        own = library.start_from(own, phase.init, phase.places.zoo, backbone)
    below = _below(phase, generator)
    model = TaskModel(backbone, library.on_top(below, own, backbone), heads)
    model.requires_grad_(False)
    model.heads.requires_grad_(True)
    own.requires_grad_(True)
    for parameter in below.learned().values():
        parameter.requires_grad_(True)
    model.frozen = _frozen_blocks(phase, model)
    return Built(model.to(backbone.device), own, below)


def _below(phase: Phase, generator: Generator) -> Composed:
    """What is below, the operators' own parameters freshly drawn."""
    zoo, backbone = phase.places.zoo, phase.backbone
    modules = {n: library.load_module(e, zoo, backbone) for n, e in phase.parents.items()}
    return compose(phase.expression, modules, backbone.shape, generator)


def _frozen_blocks(phase: Phase, model: TaskModel) -> FrozenBlocks | None:
    """What runs the blocks below the first that trains, where the settings ask for it."""
    if not phase.run.train.cache_activations:
        return None
    backbone, cache = phase.backbone, phase.places.cache
    total = len(backbone.blocks)
    nodes = model.composed.nodes.items()
    trained = [k for k, node in nodes if any(p.requires_grad for p in node.parameters())]
    count = 0 if phase.full else first_block(trained, total)
    texts = [part.name for part in phase.parts if part.task.name == MLM]
    if count == 0 or texts:
        what = "masks change every row" if texts else "something trains in the first block"
        raise UsageError(
            f"there are no activations to cache: {what}",
            hint=f"Leave blocks out, --set options.leave_out=[0,1] of {total}, or train only a "
            "head, --method head.",
        )
    if cache is None:
        return FrozenBlocks(backbone, count, MemoryStore())
    below = library.pinned(phase.expression, phase.parents)
    name = digest([backbone.identity.fingerprint, below, count])[:32]
    path = cache / "activations" / f"{name}.sqlite"
    return FrozenBlocks(backbone, count, DiskStore(path, backbone.shape.hidden_size))


# -- training


def _attached(phase: Phase, built: Built) -> AbstractContextManager[TaskModel]:
    """Attach the model; full fine-tuning works on copies of the encoder's weights."""
    encoder, own, composed = phase.backbone.encoder, built.own, built.model.composed
    if phase.full:
        start = own.encoder_weights or composed.encoder_weights
        own.base = {name: p.detach() for name, p in encoder.named_parameters()}
        weights = {
            name: start.get(name, p.detach()).to(phase.backbone.device, copy=True)
            for name, p in encoder.named_parameters()
        }
        own.encoder_weights = weights
        composed.encoder_weights = weights
        encoder.requires_grad_(True)
    return built.model.attached()


def _train(phase: Phase, model: TaskModel, folder: Path, processes: Processes) -> TrainResult:
    with _trainer(phase, model, folder, processes) as trainer:
        return trainer.run()


def _train_in_shards(
    whole: Phase, folder: Path, processes: Processes
) -> tuple[TrainResult, dict[str, Tensor]]:
    """Train on a copy of the backbone that is spread over the processes; the weights, whole."""
    phase = copy(whole)
    phase.backbone = whole.backbone.copy()
    built = build(phase)
    encoder, model, composed = phase.backbone.encoder, built.model, built.model.composed
    start = built.own.encoder_weights or composed.encoder_weights or {}
    encoder.load_state_dict(start, strict=False)
    composed.encoder_weights = {}
    encoder.requires_grad_(phase.full)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    with model.attached():
        result = _train(phase, model, folder, processes)
        return result, weights_of({name: model.get_parameter(name) for name in trained})


@contextmanager
def _trainer(
    phase: Phase, model: TaskModel, folder: Path, processes: Processes
) -> Iterator[Trainer]:
    """A trainer of the model; the encoder is as before when the block ends."""
    backbone, spec = phase.backbone, phase.run.train
    if spec.gradient_checkpointing:
        backbone.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield Trainer(
            model,
            phase.mixture(),
            spec,
            folder,
            inputs=phase.key,
            evaluate=dev_scores(model, phase.parts, phase.features),
            processes=processes,
            resume_command=phase.command,
            quiet=phase.places.quiet,
            title=f"{phase.name} {phase.run.method}",
            blocks=backbone.shape.num_layers,
            shards=list(backbone.blocks),
        )
    finally:
        if spec.gradient_checkpointing:
            backbone.encoder.gradient_checkpointing_disable()
        backbone.encoder.requires_grad_(False)
        backbone.encoder.eval()
