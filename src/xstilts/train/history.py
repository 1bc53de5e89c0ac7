"""What a run writes down of its steps and dev evaluations: one JSON object a line."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from xstilts.data.batching import Padding
from xstilts.train.mixing import Step
from xstilts.train.processes import Processes

EVERY = 10
"""Steps between two records."""


class History:
    """The file `history.jsonl` of a run; only the first process writes it.

    Args:
        folder: Of the run.
        processes: Those that train together.
    """

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.path, self.processes = folder / "history.jsonl", processes
        self.size = 0

    def cut(self, size: int) -> None:
        """Drop what was written after a checkpoint, so that no step stands twice, and half lines.

        Args:
            size: Of the file at the checkpoint, in bytes.
        """
        if not self.processes.first:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        with self.path.open("r+b") as file:
            self.size = file.read(size).rfind(b"\n") + 1
            file.truncate(self.size)

    def step(
        self, number: int, step: Step, loss: float, lr: float, norm: float, seen: Padding
    ) -> None:
        """Write down a step; every process that trains calls this.

        Args:
            number: Of steps done.
            step: Its rows.
            loss: Mean over the step's examples.
            lr: Rate of learning.
            norm: Of the gradient before clipping.
            seen: Positions and sub-words of this process.
        """
        counts = torch.tensor([seen.tokens, seen.positions], device=self.processes.device)
        tokens, positions = self.processes.sum(counts).tolist()
        record = {
            "step": number,
            "part": step.part,
            "loss": loss,
            "lr": lr,
            "gradient_norm": norm,
            "examples": step.examples,
            "tokens": tokens,
            "positions": positions,
            "time": round(time.time(), 3),
        }
        self.write(record)
        self.processes.track(record, number)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line."""
        if not self.processes.first:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True, allow_nan=False) + "\n")
            self.size = file.tell()
