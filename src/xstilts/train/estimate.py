"""How long a phase will take and how much memory it needs, from a few of its own steps."""

from __future__ import annotations

import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from xstilts.train.phases import Phase, Plan
from xstilts.train.run import calibration

CALIBRATION_SECONDS = 4.0


@dataclass(frozen=True)
class Estimate:
    """What to expect of a phase on this machine.

    Attributes:
        seconds: Training and looks at the dev set together.
        tokens_per_second: Sub-words without padding, forward, backward and update.
        peak_bytes: Of the device on a GPU, of this process on a CPU; the longest batch was run.
    """

    seconds: float
    tokens_per_second: float
    peak_bytes: int


def estimate(phase: Phase, plan: Plan, seconds: float = CALIBRATION_SECONDS) -> Estimate:
    """Run some steps of a phase, keep nothing, and reckon the rest from them.

    A look at the dev set is reckoned at a third of the cost of training on as many sub-words.
    """
    on_gpu = phase.backbone.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder, calibration(phase, Path(folder)) as trainer:
        tokens, taken = trainer.calibrate(seconds)
        evaluations = trainer.dev_evaluations()
    peak = (
        torch.cuda.max_memory_allocated()
        if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    speed = tokens / taken
    dev_tokens = plan.tokens / max(1, plan.steps * phase.run.train.batch_size) * plan.dev_rows
    return Estimate((plan.tokens + evaluations * dev_tokens / 3) / speed, speed, peak)
