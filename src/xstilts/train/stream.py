"""Where optimiser steps get their rows, and how far they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from xstilts.data.batching import example_lengths, training_batches
from xstilts.data.features import Batch, Features, collate
from xstilts.formats import FORMATS
from xstilts.specs import TaskSpec, TrainSpec


class Stream:
    """Steps over one task's rows; which rows a step has depends on its number and the seed only.

    Args:
        task: Names the head and the format.
        features: Training rows.
        tokenizer: Gives the padding id, and the mask id to formats that draw their own targets.
        spec: Batch size, accumulation, bucket and seed.
    """

    def __init__(self, task: TaskSpec, features: Features, tokenizer: Any, spec: TrainSpec) -> None:
        self.task, self.features, self.tokenizer, self.spec = task, features, tokenizer, spec
        self.lengths = example_lengths(features)
        self.steps_per_epoch = math.ceil(features.num_examples / spec.batch_size)
        self._epoch, self._batches = -1, training_batches(self.lengths[:0], 1, 1, 0, 0)

    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.spec.max_steps or math.ceil(self.steps_per_epoch * self.spec.epochs)

    def step(self, number: int, rank: int = 0, world: int = 1) -> tuple[list[Batch], int]:
        """The micro-batches of optimiser step `number` (0-based), and its examples in all.

        With several processes each gets its share of the step's examples.
        """
        epoch, position = divmod(number, self.steps_per_epoch)
        if epoch != self._epoch:
            spec = self.spec
            self._batches = training_batches(
                self.lengths, spec.batch_size, spec.bucket, spec.seed, epoch
            )
            self._epoch = epoch
        examples = self._batches[position]
        own = examples[rank::world]
        parts = [part for part in np.array_split(own, self.spec.accumulation) if len(part)]
        return [self._collate(part, number) for part in parts], len(examples)

    def _collate(self, examples: np.ndarray, number: int) -> Batch:
        rows = self.features.rows_of(examples)
        batch = collate(self.features, rows, self.tokenizer.pad_token_id)
        made = FORMATS.get(self.task.format)
        if not hasattr(made, "corrupt"):
            return batch
        generator = torch.Generator().manual_seed((self.spec.seed << 32) + number)
        corrupted: Batch = made.corrupt(batch, self.tokenizer, self.task, generator)
        return corrupted
