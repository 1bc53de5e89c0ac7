"""What cells will take: measured speeds, and what earlier cells took."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import torch

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.machine import machine
from xstilts.config.file_facts import FileFacts
from xstilts.evaluate.store import ResultStore
from xstilts.train.phases import Phase
from xstilts.train.plan import Plan, estimate

CALIBRATION_SECONDS = 1.0


@dataclass(frozen=True)
class Cost:
    """What a cell will take.

    Attributes:
        steps: Optimiser steps; 0 when nothing is trained.
        seconds: On this machine, by one worker.
        disk_bytes: Of what it keeps.
    """

    steps: int
    seconds: float
    disk_bytes: int


@dataclass
class CostModel:
    """Speeds of this machine, each measured once.

    Attributes:
        store: Earlier results; their times are better than any estimate.
        cache: Keeps what was measured; None keeps nothing.
    """

    store: ResultStore
    cache: Path | None = None
    _training: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _alike: dict[str, Cost] = field(default_factory=dict)
    _reading: dict[str, float] = field(default_factory=dict)
    _earlier: dict[tuple[str, str], float] | None = None

    def once(self, key: str, make: Callable[[], Cost]) -> Cost:
        """The cost of cells that are alike, estimated for the first one."""
        if key not in self._alike:
            self._alike[key] = make()
        return self._alike[key]

    def of_training(self, phase: Phase, plan: Plan) -> float:
        """Seconds of a phase, from a second of its kind's own steps."""
        kind = (phase.backbone.identity.key, phase.run.method, ",".join(phase.tasks))
        if kind not in self._training:
            expected = estimate(phase, plan, seconds=CALIBRATION_SECONDS)
            self._training[kind] = expected.seconds / max(1, plan.tokens)
        return plan.tokens * self._training[kind]

    def of_evaluation(self, backbone: Backbone, task: str, results: int, tokens: int) -> float:
        """Seconds until an evaluation of a task has given its results, reading so many sub-words.

        Args:
            backbone: What reads them.
            task: Its earlier results on the backbone, if any, say how long one takes.
            results: One a language, block and model.
            tokens: Over all languages and models.
        """
        if self._earlier is None:
            self._earlier = self._times()
        earlier = self._earlier.get((backbone.identity.key, task))
        if earlier is not None:
            return earlier * results
        return tokens / self._speed(backbone)

    def _times(self) -> dict[tuple[str, str], float]:
        """Backbone and task to the mean seconds of a result."""
        times: dict[tuple[str, str], list[float]] = defaultdict(list)
        for cell in self.store.cells():
            times[str(cell.identity["backbone"]), str(cell.identity["task"])].append(cell.seconds)
        return {key: mean(values) for key, values in times.items()}

    def _speed(self, backbone: Backbone) -> float:
        """Sub-words a second through the encoder, measured once on a machine."""
        name = backbone.identity.key
        if name not in self._reading:
            about = {"machine": machine(), "device": backbone.runs_on, "reading": name}
            kept = FileFacts(self.cache, "calibration", about)
            speed = kept.get()
            if speed is None:
                speed = _reading_speed(backbone.loaded)
                kept.put(speed)
            self._reading[name] = float(speed)
        return self._reading[name]


def _reading_speed(backbone: Backbone) -> float:
    """Sub-words a second through an encoder."""
    ids = torch.full((32, 32), 5, device=backbone.device)
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        backbone(ids, mask)
        began = time.perf_counter()
        backbone(ids, mask)[0, 0, 0].item()
    return ids.numel() / (time.perf_counter() - began)
