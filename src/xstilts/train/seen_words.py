"""Full fine-tuning of the word embeddings that the training rows have, and of no others.

A multilingual encoder has 250,000 words, an English task some 20,000 of them. The gradient of all
others is zero at every step, so that AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101) does
nothing to them but decay. Here only the words that occur have a gradient and moments, and the
decay of the others is made up for at the end: the same weights but for rounding, from a fraction of
the time and memory of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xstilts.config.specs import TrainSpec
from xstilts.data.arrays import IntArray
from xstilts.train import checkpoint
from xstilts.train.mixing import Mixture
from xstilts.train.optim import distance, learning_rate

MIN_WORDS = 20_000
"""A smaller table is trained whole, as is one of which the rows have more than half."""
NAME = "seen"


class SeenWords:
    """The trained rows of a word embedding, in its place while it is being trained.

    Attributes:
        rows: What trains, [words that occur, width]; a parameter of the embedding, named `seen`.
        step: Says after how many steps the other words are asked for.

    Args:
        table: The embedding.
        ids: The words that occur, ascending.
        left: What each number of steps leaves of the others' weights, as a share.
    """

    def __init__(self, table: nn.Embedding, ids: Tensor, left: Sequence[float]) -> None:
        self.table, self.ids, self._left = table, ids, left
        self.step: Callable[[], int] = lambda: 0
        self.rows = nn.Parameter(table.weight.detach()[ids].clone())
        self._place = torch.full((table.num_embeddings,), -1, device=ids.device)
        self._place[ids] = torch.arange(len(ids), device=ids.device)
        padding = table.padding_idx
        self._padding = None if padding is None else int(self._place[padding])

    @contextmanager
    def trained(self) -> Iterator[None]:
        """The rows stand in for the table's weight until the block ends."""
        table = self.table
        table.weight.requires_grad_(False)
        table.register_parameter(NAME, self.rows)
        table.forward = self._look_up  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            del table.forward, table._parameters[NAME]

    def write_back(self, step: int) -> None:
        """Put the rows, and the others as `step` steps leave them, into the table's weight."""
        with torch.no_grad():
            self.table.weight.mul_(self._left[step])
            self.table.weight.index_copy_(0, self.ids, self.rows)

    def _look_up(self, input_ids: Tensor) -> Tensor:
        places = self._place[input_ids]
        if self.table.training:  # training rows have no other words
            return functional.embedding(places, self.rows, self._padding)
        others = functional.embedding(input_ids, self.table.weight) * self._left[self.step()]
        known = functional.embedding(places.clamp_min(0), self.rows)
        return torch.where((places >= 0)[..., None], known, others)


def seen_words(
    table: nn.Embedding, mixture: Mixture, spec: TrainSpec, folder: Path, name: str, blocks: int
) -> SeenWords | None:
    """What trains instead of the whole table; None where the whole table has to.

    That is a small table, or one that rescales its rows; weights that are kept along the way,
    averaged or spread over processes; and a run that began with the whole table.

    Args:
        table: The encoder's word embeddings, with the weights that training starts from.
        mixture: Whose rows say which words occur.
        spec: Settings of the run.
        folder: Where its checkpoints are.
        name: Of the table's weight in the model, for its rate by depth.
        blocks: Of the encoder.
    """
    plain = type(table) is nn.Embedding and table.max_norm is None and not table.sparse
    whole = spec.save_every or spec.select == "average" or spec.shard or table.scale_grad_by_freq
    if not plain or whole or table.num_embeddings < MIN_WORDS or checkpoint.holds(folder, name):
        return None
    seen = np.unique(np.concatenate([*_words(table, mixture)])).astype(np.int64)
    if 2 * len(seen) > table.num_embeddings:
        return None
    total, scale = mixture.total_steps(), spec.layer_decay ** distance(name, blocks)
    rates = [learning_rate(spec, step, total) for step in range(total)]
    left = np.cumprod([1.0, *(1 - scale * spec.weight_decay * np.array(rates))])
    return SeenWords(table, torch.from_numpy(seen).to(table.weight.device), left.tolist())


def _words(table: nn.Embedding, mixture: Mixture) -> Iterator[IntArray]:
    """Each part's sub-words, and what fills its batches up."""
    for part in mixture.batches.values():
        yield np.unique(part.features.input_ids.values)
        yield np.array([part.tokenizer.pad_token_id])
    if table.padding_idx is not None:
        yield np.array([table.padding_idx])
