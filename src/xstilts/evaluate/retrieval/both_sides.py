"""The nearest rows in both directions from one product of the two sides.

A plain search of each direction multiplies the same vectors twice. Here each tile of the product is
looked at along its rows and along its columns, group by group, and only what beats the running
worst of the best is kept.
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
GROUP = 64
"""Places of a line whose largest product is compared before each of them is; divides a tile."""
_ROUNDED_ONCE, _SUMMED = np.float32(2**-8), np.float32(1e-4)
"""Above what rounding a product to bfloat16 takes, as a share, and what summing in float32 does."""
CROWD = 16
"""Above this many groups of newcomers a line, on average, a tile's own best are selected first."""


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
    kind: torch.dtype = torch.float32,
) -> tuple[Nearest, Nearest]:
    """The rows of largest inner product on the other side, for both sides.

    Args:
        source: [S, D].
        target: [T, D].
        width: Rows looked for, at most the size of the other side.
        progress: Called with the share that is done.
        kind: What the products are computed in.

    Returns:
        For each source its targets, [S, min(width, T)], and for each target its sources.
    """
    ours, theirs = (torch.from_numpy(side).to(kind) for side in (source, target))
    lines, places = _whole_groups(len(ours)), _whole_groups(len(theirs))
    ahead = _Best(lines, min(width, len(theirs)))
    back = _Best(places, min(width, len(ours)))
    space = torch.empty(min(ROWS, lines), min(COLUMNS, places), dtype=kind)
    for top in range(0, len(ours), ROWS):
        for left in range(0, len(theirs), COLUMNS):
            tile = _products(ours[top : top + ROWS], theirs[left : left + COLUMNS], space)
            _look(tile, tile.view(len(tile), -1, GROUP).amax(2), ahead, top, left)
            _look(tile.T, tile.view(-1, GROUP, tile.shape[1]).amax(1).T, back, left, top)
        progress("searching", min(1.0, (top + ROWS) / len(ours)))
    return _sorted(ahead, len(ours)), _sorted(back, len(theirs))


def lost_by_rounding(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of what each row loses in bfloat16, [rows]."""
    parts = torch.split(torch.from_numpy(rows), ROWS)
    return torch.cat([(part - part.bfloat16()).norm(dim=1) for part in parts]).numpy()


def rounding(
    lost: NDArray[np.float32], others_lost: np.float32, found: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What products of rows of length one in bfloat16 are wrong by at most, [S, width].

    By Cauchy and Schwarz the inputs' part is at most the length of what rounding took from them;
    a product is summed in float32 and rounded once.

    Args:
        lost: By each row, [S].
        others_lost: The most that a row of the other side lost.
        found: Products as bfloat16 has them, [S, width].
    """
    inputs = lost + others_lost + lost * others_lost
    error: NDArray[np.float32] = inputs[:, None] + np.abs(found) * _ROUNDED_ONCE + _SUMMED
    return error


def _whole_groups(count: int) -> int:
    """The number of places that whole groups need for `count`."""
    return -(-count // GROUP) * GROUP


def _products(one: Tensor, other: Tensor, space: Tensor) -> Tensor:
    """Inner products in a part of `space`, minus infinity where its groups are larger than they."""
    rows, columns = len(one), len(other)
    tile = space[: _whole_groups(rows), : _whole_groups(columns)]
    with torch.autocast("cpu", enabled=False):  # which an encoder in bfloat16 is run under
        torch.mm(one, other.T, out=tile[:rows, :columns])
    tile[rows:], tile[:, columns:] = -torch.inf, -torch.inf
    return tile


def _look(tile: Tensor, largest: Tensor, best: _Best, start: int, other: int) -> None:
    """Keep a tile's products that are among the best of their line.

    Args:
        tile: [lines, places] of products.
        largest: Of each group of places, [lines, groups].
        best: Of all lines.
        start: Number of the tile's first line.
        other: Number, on the other side, of the first place in its lines.
    """
    lines, width = len(tile), min(best.values.shape[1], tile.shape[1])
    worst = torch.from_numpy(best.values[start : start + lines].min(1))[:, None]
    newcomers = largest > worst
    if newcomers.sum() > CROWD * lines:
        values, place = (part.flatten() for part in tile.topk(width, dim=1, sorted=False))
        line = torch.arange(lines).repeat_interleave(width)
    else:
        line, group = newcomers.nonzero(as_tuple=True)
        values = tile.view(lines, -1, GROUP)[line, group]
        row, place = (values > worst[line]).nonzero(as_tuple=True)
        values, place, line = values[row, place], GROUP * group[row] + place, line[row]
    best.take(start + line.numpy(), other + place.numpy(), values.float().numpy())


def _sorted(best: _Best, lines: int) -> Nearest:
    order = np.argsort(-best.values[:lines], axis=1, kind="stable")
    return (
        np.take_along_axis(best.values[:lines], order, 1),
        np.take_along_axis(best.numbers[:lines], order, 1),
    )
