"""What a phase would do, how long it will take and how much memory it needs."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from xstilts.backbone.machine import machine
from xstilts.backbone.pretrained import full_training_bytes
from xstilts.composition.resolve import pinned
from xstilts.config.file_facts import FileFacts
from xstilts.modules.methods import METHODS
from xstilts.train.known import UNPLANNED
from xstilts.train.mixing import Mixture
from xstilts.train.phases import Phase
from xstilts.train.processes import Processes
from xstilts.train.run import build_model, features_of, trainer_of, training_mixture
from xstilts.zoo import Entry

CALIBRATION_SECONDS = 4.0
DEV_SHARE = 0.1
"""Share of the time of a training above which a plan says how dev evaluations take less."""


@dataclass(frozen=True)
class Plan:
    """Steps, size and inputs of a phase that is not run.

    Attributes:
        tokens: Sub-words without padding over the whole run.
        shares: Part to its stated share of the steps.
        rows_cut: Part to how many training rows lose sub-words, of how many, at which length.
        cached_bytes: Of cached activations of frozen blocks; 0 without them.
        memory_bytes: Of weights, gradients and moments at least, without activations.
        known: The module, when this very training was done before.
    """

    rows: int
    dev_rows: int
    steps: int
    tokens: int
    shares: Mapping[str, float]
    rows_cut: Mapping[str, Mapping[str, int]]
    trainable_parameters: int
    backbone_parameters: int
    disk_bytes: int
    cached_bytes: int
    memory_bytes: int
    run: str
    known: Entry | None


@dataclass(frozen=True)
class Estimate:
    """What to expect of a phase on this machine.

    Attributes:
        seconds: Training and dev evaluations together.
        dev_evaluations: How many there are.
        dev_share: Their share of the time, 0 to 1.
        tokens_per_second: Sub-words without padding, forward, backward and update.
        peak_bytes: Of the device on a GPU, of this process on a CPU; the longest batch was run.
    """

    seconds: float
    dev_evaluations: int
    dev_share: float
    tokens_per_second: float
    peak_bytes: int

    def dev_rows_for(self, share: float, dev_rows: int) -> int:
        """Dev rows an evaluation with which all evaluations take this share of the time, about."""
        wanted = share / (1 - share) * (1 - self.dev_share) / self.dev_share
        return int(dev_rows * wanted)


def plan_phase(phase: Phase) -> Plan:
    """What `train_phase` would do; nothing is written but the cache of tokenised rows."""
    if phase.method.EXTERNAL or METHODS.origin(phase.preset.method).path is None:
        phase = _loaded(phase)  # its modules may be made of more than the encoder's sizes
    built = build_model(phase)
    mixture = training_mixture(phase)
    steps = mixture.total_steps()
    mean = {
        name: batches.tokens.mean() * phase.run.train.batch_size
        for name, batches in mixture.batches.items()
    }
    weights = sum(p.numel() for p in phase.backbone.encoder.parameters())
    return Plan(
        rows=sum(len(part.rows) for part in phase.parts),
        dev_rows=sum(len(dev.rows) for part in phase.parts for dev in part.dev),
        steps=steps,
        tokens=round(steps * sum(mean[name] * s for name, s in mixture.shares.items())),
        shares=mixture.shares,
        rows_cut=phase.rows_cut(mixture),
        trainable_parameters=built.num_trained,
        backbone_parameters=weights,
        disk_bytes=4 * built.num_trained,
        cached_bytes=_cached_bytes(phase, mixture) if built.model.frozen else 0,
        memory_bytes=_memory_bytes(phase, built.num_trained, weights),
        run=phase.run_key,
        known=phase.workspace.zoo.find_run(phase.run_key),
    )


def _loaded(phase: Phase) -> Phase:
    """The phase on a backbone with weights."""
    loaded = phase.backbone.loaded
    return phase if loaded is phase.backbone else replace(phase, backbone=loaded)


def _memory_bytes(phase: Phase, trained: int, weights: int) -> int:
    if phase.full:
        return full_training_bytes(4 * trained, 4 * phase.backbone.word_embeddings.weight.numel())
    return 4 * (4 * trained + weights)


def _cached_bytes(phase: Phase, mixture: Mixture) -> int:
    """Size of all rows' cached activations, float32."""
    rows = [batches.features for batches in mixture.batches.values()]
    rows += [features_of(phase, dev.inputs, dev.task) for part in phase.parts for dev in part.dev]
    return 4 * phase.backbone.shape.hidden_size * sum(int(f.lengths.sum()) for f in rows)


def estimate(phase: Phase, plan: Plan, seconds: float = CALIBRATION_SECONDS) -> Estimate:
    """What a phase takes, estimated from some of its steps.

    They are run once on a machine for a method, a backbone and rows of this shape; the seed does
    not matter. A dev evaluation is estimated at a third of the cost of training on as many
    sub-words.
    """
    kept = _calibration(phase, plan)
    measured = kept.get()
    if measured is None:
        measured = _calibrated(_loaded(phase), seconds)
        kept.put(measured)
    speed = measured["speed"]
    dev_tokens = plan.dev_rows * plan.tokens / max(1, plan.steps * phase.run.train.batch_size)
    evaluations = int(measured["evaluations"])
    in_dev = evaluations * dev_tokens / 3
    tokens = plan.tokens + in_dev
    share = in_dev / tokens if tokens else 0.0
    return Estimate(tokens / speed, evaluations, share, speed, int(measured["peak"]))


def planned(phase: Phase) -> dict[str, Any]:
    """What a phase would do and take, as JSON values by what they are called."""
    plan = plan_phase(phase)
    expected = estimate(phase, plan)
    sets = sum(len(part.dev) for part in phase.parts)
    few = expected.dev_rows_for(DEV_SHARE, plan.dev_rows) // sets if expected.dev_share else 0
    record: dict[str, Any] = {
        "task": phase.task.name if len(phase.tasks) == 1 else ", ".join(phase.tasks),
        "module": phase.name,
        "method": phase.run.method,
        "rows": plan.rows,
        "dev rows": plan.dev_rows,
        "steps": plan.steps,
        "tokens": plan.tokens,
        "trainable parameters": plan.trainable_parameters,
        "backbone parameters": plan.backbone_parameters,
        "backbone memory MB": round(4 * plan.backbone_parameters / 1e6),
        "least memory MB": round(plan.memory_bytes / 1e6),
        "estimated minutes": round(expected.seconds / 60, 2),
        "dev evaluations": expected.dev_evaluations,
        "dev evaluations, share of time": round(expected.dev_share, 3),
        "dev limit": few if expected.dev_share > DEV_SHARE else None,
        "tokens a second": round(expected.tokens_per_second),
        "peak memory MB": round(expected.peak_bytes / 1e6),
        "disk MB": round(plan.disk_bytes / 1e6, 2),
        "activation cache MB": round(plan.cached_bytes / 1e6, 2),
        "rows cut": plan.rows_cut,
    }
    if len(plan.shares) > 1:
        record["shares"] = {name: round(share, 4) for name, share in plan.shares.items()}
    return record


def _calibration(phase: Phase, plan: Plan) -> FileFacts:
    """Keeps the speed of trainings like this one on this machine."""
    about = {
        "machine": machine(),
        "device": phase.backbone.runs_on,
        "backbone": phase.backbone.identity.key,
        "method": [phase.preset.method, phase.options.model_dump()],
        "below": pinned(phase.base, phase.parents),
        "tasks": [part.name for part in phase.parts],
        "train": phase.run.train.model_dump(exclude=UNPLANNED),
        "rows": [plan.rows, plan.dev_rows, plan.steps],
    }
    return FileFacts(phase.workspace.cache, "calibration", about)


def _calibrated(phase: Phase, seconds: float) -> dict[str, float]:
    """Run some steps of a phase and keep nothing: their speed, the peak of memory, evaluations."""
    device = phase.backbone.device
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    built, processes = build_model(phase), Processes(phase.run.train.precision, device)
    with (
        tempfile.TemporaryDirectory() as folder,
        built.model.attached(),
        trainer_of(phase, training_mixture(phase), built, Path(folder), processes) as trainer,
    ):
        tokens, taken = trainer.calibrate(seconds)
        evaluations = trainer.dev_evaluations()
    peak = (
        torch.cuda.max_memory_allocated()
        if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {"speed": tokens / taken, "peak": peak, "evaluations": evaluations}
