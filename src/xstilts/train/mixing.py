"""One task's rows as optimiser steps, and how the steps of several tasks are mixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from xstilts.config.specs import MixSpec, TaskSpec, TrainSpec
from xstilts.data.arrays import IntArray
from xstilts.data.batching import example_lengths, example_tokens, training_batches
from xstilts.data.features import Batch, Features, collate
from xstilts.errors import UsageError
from xstilts.tasks.formats import FORMATS


def micro_tokens(device: str, *, frozen: bool) -> int:
    """Sub-words of a micro-batch where a run states none.

    Above a thousand a CPU gets no faster, and activations are most of the memory that training
    over a frozen encoder takes. Where the encoder trains, each micro-batch also adds to the
    gradient of every word's embedding, so fewer and larger ones are faster.

    Args:
        device: Its kind, such as `cpu`.
        frozen: Whether the encoder's own weights stay as they are.
    """
    if device != "cpu":
        return 32_768
    return 1024 if frozen else 4096


@dataclass(frozen=True, slots=True)
class Step:
    """What one process runs in one optimiser step.

    Attributes:
        part: Name of the part that the step belongs to; a step never mixes parts.
        head: The head to run.
        batches: Micro-batches of this process; one with weight 0 when it has no example.
        examples: Of the step, over all processes.
        weight: 0 when the batches only keep the process in step with the others.
    """

    part: str
    head: str
    batches: Sequence[Batch]
    examples: int
    weight: float = 1.0


class TaskBatches:
    """Steps over one task's rows; which rows a step has depends on its number and the seed only.

    Args:
        task: Its name is the part's, its format says how rows become a loss.
        features: Training rows.
        tokenizer: Gives the padding id, and the mask id to formats that draw their own targets.
        spec: Batch size, accumulation, bucket and seed.
        head: Name of its head; the task's when empty.
        budget: Sub-words of a micro-batch, about.
    """

    def __init__(
        self,
        task: TaskSpec,
        features: Features,
        tokenizer: Any,
        spec: TrainSpec,
        head: str = "",
        budget: int = 4096,
    ) -> None:
        self.task, self.features, self.tokenizer, self.spec = task, features, tokenizer, spec
        self.head = head or task.name
        self.budget = spec.micro_tokens or budget
        self.lengths = example_lengths(features)
        self.tokens = example_tokens(features)
        self.steps_per_epoch = math.ceil(features.num_examples / spec.batch_size)
        self._epoch, self._batches = -1, training_batches(self.lengths[:0], 1, 1, 0, 0)

    def examples(self, number: int) -> IntArray:
        """The examples of this task's step `number` (0-based)."""
        epoch, position = divmod(number, self.steps_per_epoch)
        if epoch != self._epoch:
            spec = self.spec
            self._batches = training_batches(
                self.lengths, spec.batch_size, spec.bucket, spec.seed, epoch
            )
            self._epoch = epoch
        return self._batches[position]

    def step(self, number: int, rank: int = 0, world: int = 1) -> Step:
        """This task's step `number`; with several processes each gets its share of it."""
        return self.make_step(self.examples(number), number, rank, world)

    def make_step(self, examples: IntArray, number: int, rank: int = 0, world: int = 1) -> Step:
        """Some examples as one step, cut into processes' shares and micro-batches."""
        whole = self._targets(examples, number)
        own = np.arange(len(examples))[rank::world]
        weight = 1.0 if len(own) else 0.0
        own = own if len(own) else np.zeros(1, np.int64)
        # As many in every process: sharded weights are gathered by all together.
        wanted = math.ceil(self.tokens[examples].sum() / (self.budget * world))
        count = max(1, min(max(self.spec.accumulation, wanted), len(examples) // world))
        parts = self._parts(examples, own, count)
        if whole is None:
            batches = [self._collate(examples[part]) for part in parts]
        else:
            batches = [_rows(whole, part) for part in parts]
        return Step(self.task.name, self.head, batches, len(examples), weight)

    def _parts(self, examples: IntArray, own: IntArray, count: int) -> list[IntArray]:
        """Workspace among `examples` in `count` groups with about as many sub-words each."""
        if count == 1:
            return [own]
        own = own[np.argsort(self.lengths[examples[own]], kind="stable")]
        ends = np.cumsum(self.tokens[examples[own]])
        marks = np.arange(1, count)
        cuts = np.searchsorted(ends, ends[-1] * marks / count) + 1
        cuts = np.minimum(np.maximum.accumulate(cuts - marks) + marks, len(own) - count + marks)
        return np.split(own, cuts)

    def _collate(self, examples: IntArray) -> Batch:
        rows = self.features.rows_of(examples)
        return collate(self.features, rows, self.tokenizer.pad_token_id)

    def _targets(self, examples: IntArray, number: int) -> Batch | None:
        """The whole step with targets drawn, so that they do not depend on how it is cut."""
        made = FORMATS.get(self.task.format)
        if not made.CORRUPTS:
            return None
        generator = torch.Generator().manual_seed(_target_seed(self.spec.seed, number))
        batch = self._collate(examples)
        return made.corrupt(batch, self.tokenizer, self.task, generator)


def _target_seed(seed: int, number: int) -> int:
    """One seed of 64 bits for the targets of a step; of a seed with more than 32 it is a hash."""
    if seed < 1 << 32:
        return (seed << 32) + number
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _rows(batch: Batch, rows: IntArray) -> Batch:
    """Some rows of a batch in which every example is one row, cut to the longest of them."""
    index = torch.from_numpy(rows)
    mask = batch.attention_mask[index]
    width = int(mask.sum(1).max())
    return replace(
        batch,
        input_ids=batch.input_ids[index, :width],
        attention_mask=mask[:, :width],
        example=torch.arange(len(rows)),
        rows=batch.rows[rows],
        num_examples=len(rows),
        tokens={name: values[index, :width] for name, values in batch.tokens.items()},
        scalars={name: values[index] for name, values in batch.scalars.items()},
    )


def mixing_shares(sizes: Mapping[str, int], mix: MixSpec) -> dict[str, float]:
    """Share of the steps of each part, summing to 1.

    Args:
        sizes: Part to its training rows.
        mix: The rule; parts of `beside` are outside it.

    Raises:
        UsageError: Shares for parts that are not there, missing ones, or a sum other than 1.
    """
    _require_parts(sizes, mix)
    ruled = [name for name in sizes if name not in mix.beside]
    rest = 1.0 - sum(mix.beside.values())
    capped = {name: min(sizes[name], mix.cap) if mix.cap else sizes[name] for name in ruled}
    if mix.rule == "fixed":
        weights = {name: mix.shares[name] for name in ruled}
    elif mix.rule == "uniform":
        weights = dict.fromkeys(ruled, 1.0)
    elif mix.rule == "temperature":
        weights = _to_power(capped, 1.0 / mix.temperature)
    else:
        weights = {name: float(size) for name, size in capped.items()}
    total = sum(weights.values())
    shares = {name: rest * weight / total for name, weight in weights.items()}
    return {name: shares.get(name, mix.beside.get(name, 0.0)) for name in sizes}


def _to_power(sizes: Mapping[str, int], exponent: float) -> dict[str, float]:
    """Each size to a power, or its share of the largest where that is beyond what a float holds."""
    try:
        weights = {name: size**exponent for name, size in sizes.items()}
        if math.isfinite(sum(weights.values())):
            return weights
    except OverflowError:
        pass
    largest = max(sizes.values())
    return {name: (size / largest) ** exponent for name, size in sizes.items()}


def _require_parts(sizes: Mapping[str, int], mix: MixSpec) -> None:
    unknown = [name for name in (*mix.shares, *mix.beside) if name not in sizes]
    if unknown:
        raise UsageError(
            f"the mixture has no part '{unknown[0]}'", hint=f"Its parts are {', '.join(sizes)}."
        )
    if sum(mix.beside.values()) > 1 + 1e-9:
        raise UsageError("the shares of `beside` are more than all steps")
    ruled = [name for name in sizes if name not in mix.beside]
    if ruled and sum(mix.beside.values()) >= 1:
        raise UsageError(f"nothing is left for {', '.join(ruled)}: `beside` takes every step")
    if mix.rule != "fixed":
        return
    missing = [name for name in ruled if name not in mix.shares]
    if missing:
        raise UsageError(f"the mixture states no share for '{missing[0]}'")
    if abs(sum(mix.shares[name] for name in ruled) - 1) > 1e-6:
        raise UsageError("the fixed shares do not sum to 1")


class Mixture:
    """Which part each optimiser step belongs to: drawn anew for each step, by its number.

    Args:
        batches: The steps of each part, by its name.
        spec: Seed and budget.
        mix: How often each part gets a step.

    Attributes:
        shares: Part to its stated share of the steps.
        steps_taken: Part to the steps it had so far; part of a checkpoint.
        stopped: Parts that get no more steps; part of a checkpoint.
    """

    def __init__(
        self, batches: Mapping[str, TaskBatches], spec: TrainSpec, mix: MixSpec | None = None
    ) -> None:
        self.batches, self.spec, self.mix = dict(batches), spec, mix or MixSpec()
        sizes = {name: own.features.num_examples for name, own in batches.items()}
        self.shares = mixing_shares(sizes, self.mix)
        self.steps_taken = dict.fromkeys(self.batches, 0)
        self.stopped: list[str] = []

    @property
    def steps_per_epoch(self) -> float:
        """Steps until the parts under the rule have had as many examples as they count for."""
        ruled = [name for name in self.batches if name not in self.mix.beside] or [*self.batches]
        steps = 0
        for name in ruled:
            rows = self.batches[name].features.num_examples
            steps += math.ceil(min(rows, self.mix.cap or rows) / self.spec.batch_size)
        return steps / sum(self.shares[name] for name in ruled)

    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        steps = self.spec.max_steps or math.ceil(self.steps_per_epoch * self.spec.epochs - 1e-9)
        return self._within_tokens(steps) if self.spec.max_tokens else steps

    def _within_tokens(self, steps: int) -> int:
        """The steps until the tokens are used up, at most `steps` where that is stated."""
        steps_taken, tokens, number = dict.fromkeys(self.batches, 0), 0, 0
        while tokens < self.spec.max_tokens and (not self.spec.max_steps or number < steps):
            name = self.part(number)
            batches = self.batches[name]
            tokens += int(batches.tokens[batches.examples(steps_taken[name])].sum())
            steps_taken[name] += 1
            number += 1
        return number

    def part(self, number: int) -> str:
        """The part of step `number`; stopped parts leave their share to the others."""
        names = [name for name in self.batches if name not in self.stopped]
        if len(names) == 1:
            return names[0]
        shares = np.array([self.shares[name] for name in names])
        draw = np.random.default_rng([self.spec.seed, 7919, number]).random()
        return names[int(np.searchsorted(np.cumsum(shares / shares.sum()), draw, side="right"))]

    def step(self, number: int, rank: int = 0, world: int = 1) -> Step:
        """What this process runs in optimiser step `number` (0-based); counts it as taken."""
        name = self.part(number)
        step = self.batches[name].step(self.steps_taken[name], rank, world)
        self.steps_taken[name] += 1
        return replace(step, part=name)
