"""Which rows go together: buckets of similar length for training, a token budget for evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xstilts.data.features import Features, IntArray


def training_batches(
    lengths: IntArray, batch_size: int, bucket: int, seed: int, epoch: int
) -> list[IntArray]:
    """One epoch's steps: every example once, in an order that depends on `seed` and `epoch` only.

    Shuffled examples are sorted by length within stretches of `bucket` batches, then the batches
    are shuffled. The last batch of the epoch may be short.

    Args:
        lengths: Sub-words of each example.
        batch_size: Examples per optimiser step.
        bucket: Batches per stretch; 1 switches sorting off.
        seed: Of the run.
        epoch: 0-based.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    if bucket > 1:
        stretch = bucket * batch_size
        parts = [order[i : i + stretch] for i in range(0, len(order), stretch)]
        order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    if bucket > 1:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches


def example_lengths(features: Features) -> IntArray:
    """The longest row of each example, in sub-words."""
    longest = np.zeros(features.num_examples, np.int64)
    np.maximum.at(longest, features.example, features.lengths)
    return longest


def evaluation_batches(features: Features, token_budget: int) -> list[IntArray]:
    """All rows, longest examples first, each batch within the budget of padded sub-words.

    Rows of one example stay together; an example over the budget is a batch of its own.
    """
    longest = example_lengths(features)
    rows_of = np.bincount(features.example, minlength=features.num_examples)
    batches: list[IntArray] = []
    current: list[int] = []
    rows, width = 0, 0
    for example in np.argsort(-longest, kind="stable"):
        count = int(rows_of[example])
        if current and (rows + count) * width > token_budget:
            batches.append(features.rows_of(np.array(current)))
            current, rows = [], 0
        if not current:
            width = int(longest[example])
        current.append(int(example))
        rows += count
    if current:
        batches.append(features.rows_of(np.array(current)))
    return batches


def padding_share(features: Features, batches: Sequence[IntArray]) -> float:
    """Share of padded positions that hold no sub-word, 0..1."""
    padded = sum(len(rows) * int(features.lengths[rows].max()) for rows in batches)
    return 1 - float(features.lengths.sum()) / padded if padded else 0.0
