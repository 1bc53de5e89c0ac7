"""Which rows go together: buckets of similar length for training, a token budget for evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xstilts.data.arrays import IntArray, np
from xstilts.data.features import Batch, Features

ENOUGH = 1024
"""Positions that a batch has at least before it ends for the sake of padding."""
WASTE = 0.06
"""Share of a batch's positions that padding takes at most, from then on."""


def training_batches(
    lengths: IntArray, batch_size: int, bucket: int, seed: int, epoch: int
) -> list[IntArray]:
    """One epoch's steps: every example once, in an order that depends on `seed` and `epoch` only.

    Shuffled examples are sorted by length within stretches of `bucket` batches, then the batches
    are shuffled. Every batch has `batch_size` examples but one: when they do not divide evenly the
    rest is a short batch of its own, never dropped and never filled up.

    Args:
        lengths: Sub-words of each example.
        batch_size: Examples per optimiser step.
        bucket: Batches per stretch; 1 switches sorting off, and the short batch is then the last.
        seed: Of the run.
        epoch: 0-based.

    Returns:
        Example numbers of each batch.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    if bucket > 1:
        stretch = bucket * batch_size
        parts = [order[i : i + stretch] for i in range(0, len(order), stretch)]
        parts = [part[np.argsort(lengths[part], kind="stable")] for part in parts]
        order = np.concatenate(parts) if parts else order
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    if bucket > 1:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches


def example_lengths(features: Features) -> IntArray:
    """The longest row of each example, in sub-words."""
    longest = np.zeros(features.num_examples, np.int64)
    np.maximum.at(longest, features.example, features.lengths)
    return longest


def example_tokens(features: Features) -> IntArray:
    """The sub-words of each example over all of its rows, padding not counted."""
    total = np.zeros(features.num_examples, np.int64)
    np.add.at(total, features.example, features.lengths)
    return total


def evaluation_batches(features: Features, token_budget: int) -> list[IntArray]:
    """All rows, longest first, each batch within the budget of padded sub-words.

    A batch that is large enough ends before padding takes more than `WASTE` of it. The row numbers
    say where each result belongs; rows of one example may be in different batches. What alone is
    over the budget is a batch of its own.

    Args:
        features: The rows.
        token_budget: Rows of a batch times its longest row, at most.
    """
    order = np.argsort(-features.lengths, kind="stable")
    batches: list[IntArray] = []
    start = real = 0
    for place, length in enumerate(features.lengths[order].tolist()):
        padded = (place + 1 - start) * int(features.lengths[order[start]])
        wasteful = padded >= ENOUGH and padded - real - length > WASTE * padded
        if place > start and (padded > token_budget or wasteful):
            batches.append(order[start:place])
            start, real = place, 0
        real += length
    return [*batches, order[start:]] if len(order) else batches


@dataclass
class Padding:
    """How much of padded batches is padding.

    Attributes:
        positions: Rows times the longest row, summed over batches.
        tokens: Those of them that hold a sub-word.
    """

    positions: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, batches: Iterable[Batch]) -> Padding:
        """The padding of some batches."""
        whole = cls()
        for batch in batches:
            whole.add(cls(batch.input_ids.numel(), batch.num_tokens))
        return whole

    def add(self, other: Padding) -> None:
        """Add the padding of other batches."""
        self.positions += other.positions
        self.tokens += other.tokens

    @property
    def share(self) -> float:
        """Share of the positions that hold no sub-word, 0..1."""
        return 1 - self.tokens / self.positions if self.positions else 0.0
