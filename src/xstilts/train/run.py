"""How a phase's module is made: its model is built, trained on its backbone, and kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from functools import partial
from pathlib import Path

from torch import Generator, Tensor

from xstilts.backbone.activation_cache import DiskStore, FrozenBlocks, MemoryStore, first_block
from xstilts.backbone.sites import ModuleWeights
from xstilts.composition.compose import ComposedModules, compose
from xstilts.composition.load import load_module, on_top, pinned, start_from
from xstilts.composition.task_model import Head, TaskModel
from xstilts.errors import UsageError
from xstilts.files import digest
from xstilts.train.checkpoint import put, tidy, weights_of
from xstilts.train.dev_scores import dev_scores
from xstilts.train.mixing import Mixture
from xstilts.train.parts import MLM
from xstilts.train.phases import Phase, PhaseModel, Plan
from xstilts.train.processes import Processes
from xstilts.train.save import save_module, save_snapshots
from xstilts.train.trainer import Trainer, TrainResult
from xstilts.zoo import Entry


def train_phase(phase: Phase, *, force: bool = False) -> Entry:
    """Train and keep the module, or return the one that this very training made before.

    With several processes, the first one writes and all return what it kept.

    Raises:
        InterruptedRunError: Ctrl-C; the same command resumes.
        DataError: A row is broken.
    """
    known = phase.workspace.zoo.find_run(phase.key)
    if known and not force:
        return known
    folder = phase.workspace.runs / phase.key[:16]
    processes = Processes(
        phase.run.train.precision,
        trackers=phase.workspace.trackers,
        folder=folder,
        run=(phase.name, phase.run.train.model_dump()),
    )
    with processes.alone_in(folder, partial(_tell, phase)):
        known = phase.workspace.zoo.find_run(phase.key)
        if known is None or force:
            known = _make(phase, folder, processes)
    processes.close()
    return known


def _tell(phase: Phase) -> None:
    if not phase.workspace.quiet:
        print("another process trains this very module; waiting for it", file=sys.stderr)


def _make(phase: Phase, folder: Path, processes: Processes) -> Entry:
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
            save_snapshots(phase, built, result, folder, trained)
            entry = save_module(phase, built, result)
            tidy(folder)
    processes.wait()
    kept = entry if processes.first else phase.workspace.zoo.find_run(phase.key)
    assert kept is not None
    return kept


@contextmanager
def calibration(phase: Phase, folder: Path) -> Iterator[Trainer]:
    """A trainer of a model that is thrown away when the block ends."""
    built = build(phase)
    processes = Processes.alone(phase.run.train.precision)
    with _attached(phase, built), _trainer(phase, built.model, folder, processes) as trainer:
        yield trainer


def plan_phase(phase: Phase) -> Plan:
    """What `train_phase` would do; nothing is written but the cache of tokenised rows."""
    model = build(phase).model
    trainable = phase.trainable(model)
    mixture = phase.mixture()
    steps = mixture.total_steps()
    mean = {
        name: stream.tokens.mean() * phase.run.train.batch_size
        for name, stream in mixture.streams.items()
    }
    return Plan(
        rows=sum(len(part.rows) for part in phase.parts),
        dev_rows=sum(len(dev.rows) for part in phase.parts for dev in part.dev),
        steps=steps,
        tokens=round(steps * sum(mean[name] * s for name, s in mixture.shares.items())),
        shares=mixture.shares,
        trainable_parameters=trainable,
        backbone_parameters=sum(p.numel() for p in phase.backbone.encoder.parameters()),
        disk_bytes=4 * trainable,
        cached_bytes=_cached_bytes(phase, mixture) if model.frozen else 0,
        run=phase.key,
        known=phase.workspace.zoo.find_run(phase.key),
    )


def _cached_bytes(phase: Phase, mixture: Mixture) -> int:
    """Size of all rows' cached activations, float32."""
    rows = [stream.features for stream in mixture.streams.values()]
    rows += [phase.features(dev.rows, dev.task) for part in phase.parts for dev in part.dev]
    return 4 * phase.backbone.shape.hidden_size * sum(int(f.lengths.sum()) for f in rows)


# -- the model


def build(phase: Phase) -> PhaseModel:
    """The model to be trained, freshly drawn from the phase's seed, on its backbone's device."""
    backbone = phase.backbone
    generator = Generator().manual_seed(phase.run.train.seed)
    own: ModuleWeights = phase.method.create(backbone.shape, phase.options, generator)
    heads = {name: Head.new(task, backbone, generator) for name, task in phase.heads.items()}
    if phase.init:
        own = start_from(own, phase.init, phase.workspace.zoo, backbone)
    below = _below(phase, generator)
    model = TaskModel(backbone, on_top(below, own, backbone), heads)
    model.requires_grad_(False)
    model.heads.requires_grad_(True)
    own.requires_grad_(True)
    for parameter in below.operator_parameters().values():
        parameter.requires_grad_(True)
    model.frozen = _frozen_blocks(phase, model)
    return PhaseModel(model.to(backbone.device), own, below)


def _below(phase: Phase, generator: Generator) -> ComposedModules:
    """What is below, the operators' own parameters freshly drawn."""
    zoo, backbone = phase.workspace.zoo, phase.backbone
    modules = {n: load_module(e, zoo, backbone) for n, e in phase.parents.items()}
    return compose(phase.expression, modules, backbone.shape, generator)


def _frozen_blocks(phase: Phase, model: TaskModel) -> FrozenBlocks | None:
    """What runs the blocks below the first that trains, where the settings ask for it."""
    if not phase.run.train.cache_activations:
        return None
    backbone, cache = phase.backbone, phase.workspace.cache
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
    below = pinned(phase.expression, phase.parents)
    name = digest([backbone.identity.fingerprint, below, count])[:32]
    path = cache / "activations" / f"{name}.sqlite"
    return FrozenBlocks(backbone, count, DiskStore(path, backbone.shape.hidden_size))


# -- training


def _attached(phase: Phase, built: PhaseModel) -> AbstractContextManager[TaskModel]:
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
            quiet=phase.workspace.quiet,
            title=f"{phase.name} {phase.run.method}",
            blocks=backbone.shape.num_layers,
            shards=list(backbone.blocks),
        )
    finally:
        if spec.gradient_checkpointing:
            backbone.encoder.gradient_checkpointing_disable()
        backbone.encoder.requires_grad_(False)
        backbone.encoder.eval()
