"""The nearest rows in both directions from one product of the two sides.

A plain search of each direction multiplies the same vectors twice. Here each tile of the product is
looked at along its rows and along its columns, and only what beats the running worst of the best is
kept.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xstilts.config.progress import ProgressFn

Nearest = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Similarities and row numbers, both [queries, width], best first."""

ROWS, COLUMNS = 2048, 4096
"""Of a tile: 32 MB of products, large enough for the full speed of a matrix product."""
CROWD = 64
"""Above this many newcomers a line, on average, a tile's own best are selected first."""


class _Best:
    """The `width` largest products that each line (a row or a column of the product) has seen."""

    def __init__(self, lines: int, width: int) -> None:
        self.values = np.full((lines, width), -np.inf, np.float32)
        self.numbers = np.full((lines, width), -1, np.int64)

    def take(
        self,
        lines: NDArray[np.int64],
        numbers: NDArray[np.int64],
        values: NDArray[np.float32],
    ) -> None:
        """Merge newcomers, [M] each, sorted by line."""
        width = self.values.shape[1]
        changed, first, counts = np.unique(lines, return_index=True, return_counts=True)
        places = np.arange(len(lines)) - np.repeat(first, counts)
        row = np.repeat(np.arange(len(changed)), counts)
        shape = len(changed), width + int(counts.max(initial=0))
        merged = np.full(shape, -np.inf, np.float32)
        whose = np.full(shape, -1, np.int64)
        merged[:, :width], whose[:, :width] = self.values[changed], self.numbers[changed]
        merged[row, width + places], whose[row, width + places] = values, numbers
        kept = np.argpartition(-merged, width - 1, axis=1)[:, :width]
        self.values[changed] = np.take_along_axis(merged, kept, 1)
        self.numbers[changed] = np.take_along_axis(whose, kept, 1)


def search_both(
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    width: int,
    progress: ProgressFn,
) -> tuple[Nearest, Nearest]:
    """The rows of largest inner product on the other side, for both sides.

    Args:
        source: [S, D].
        target: [T, D].
        width: Rows looked for, at most the size of the other side.
        progress: Called with the share that is done.

    Returns:
        For each source its targets, [S, min(width, T)], and for each target its sources.
    """
    ahead = _Best(len(source), min(width, len(target)))
    back = _Best(len(target), min(width, len(source)))
    ours, theirs = torch.from_numpy(source), torch.from_numpy(target)
    for top in range(0, len(source), ROWS):
        for left in range(0, len(target), COLUMNS):
            with torch.autocast("cpu", enabled=False):  # which an encoder in bfloat16 is run under
                tile = ours[top : top + ROWS] @ theirs[left : left + COLUMNS].T
            _look(tile, ahead, top, left, along=0)
            _look(tile, back, left, top, along=1)
        progress("searching", min(1.0, (top + ROWS) / len(source)))
    return _sorted(ahead), _sorted(back)


def _look(tile: Tensor, best: _Best, start: int, other: int, along: int) -> None:
    """Keep a tile's products that are among the best of their line.

    Args:
        tile: [rows, columns] of products.
        best: Of all lines.
        start: Number of the tile's first line.
        other: Number, on the other side, of the tile's first place in a line.
        along: 0 where rows are the lines, 1 where columns are.
    """
    lines, places = tile.shape if along == 0 else tile.shape[::-1]
    worst = best.values[start : start + lines].min(1)
    values = tile.numpy()
    newcomer = values > (worst[:, None] if along == 0 else worst[None])
    if np.count_nonzero(newcomer) > CROWD * lines:
        width = min(best.values.shape[1], places)
        most = tile.topk(width, dim=1 - along, sorted=False)
        largest, index = (
            (most.values, most.indices) if along == 0 else (most.values.T, most.indices.T)
        )
        line = np.repeat(np.arange(lines), width)
        best.take(start + line, other + index.reshape(-1).numpy(), largest.reshape(-1).numpy())
        return
    above = np.flatnonzero(newcomer)
    row, column = np.divmod(above, tile.shape[1])
    line, place = (row, column) if along == 0 else (column, row)
    order = np.argsort(line, kind="stable")
    best.take(start + line[order], other + place[order], values.reshape(-1)[above[order]])


def _sorted(best: _Best) -> Nearest:
    order = np.argsort(-best.values, axis=1, kind="stable")
    return np.take_along_axis(best.values, order, 1), np.take_along_axis(best.numbers, order, 1)
