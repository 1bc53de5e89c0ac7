"""How well two languages' sentence vectors lie on each other: pure functions of matrices.

Rows are sentences. `cosines` [Q, C] holds the similarity of Q queries and C candidates, `gold` [Q]
the candidate that translates each query. Of equal candidates the first counts as the nearest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MARGIN_NEIGHBOURS = 4
"""As in XTREME's mining."""
NEIGHBOURS = 10
"""As in the papers of CSLS and of hubness."""


def nearest_hits(cosines: Array, gold: Array) -> Array:
    """Whether the nearest candidate is the right one, [Q]."""
    return cosines.argmax(1) == gold


def margin_hits(cosines: Array, gold: Array, own: Array, other: Array) -> Array:
    """The same with the ratio margin (Artetxe and Schwenk, 2019, arXiv:1811.01136), [Q].

    Args:
        cosines: [Q, C].
        gold: [Q].
        own: Mean cosine of each query and its nearest candidates, [Q].
        other: Mean cosine of each candidate and its nearest queries, [C].
    """
    middle = (own[:, None] + other[None, :]) / 2
    return (cosines / middle).argmax(1) == gold


def csls_hits(cosines: Array, gold: Array, own: Array, other: Array) -> Array:
    """The same with cross-domain local scaling (Conneau et al., 2018, arXiv:1710.04087), [Q].

    The arguments are those of `margin_hits`.
    """
    return (2 * cosines - own[:, None] - other[None, :]).argmax(1) == gold


def reciprocal_ranks(cosines: Array, gold: Array) -> Array:
    """One over the rank of the right candidate, [Q]."""
    rows = np.arange(len(gold))
    right = cosines[rows, gold][:, None]
    before = np.arange(cosines.shape[1])[None, :] < gold[:, None]
    rank = 1 + (cosines > right).sum(1) + ((cosines == right) & before).sum(1)
    return 1.0 / rank


def linear_cka(first: Array, second: Array) -> float:
    """Linear centred kernel alignment of paired rows (Kornblith et al., 2019, arXiv:1905.00414).

    Args:
        first: [N, D].
        second: [N, E], row i translates row i of `first`.

    Returns:
        0..1; 0 where one side has no spread.
    """
    x, y = (side.astype(np.float64) - side.mean(0, dtype=np.float64) for side in (first, second))
    within = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / within) if within else 0.0


def hubness(neighbours: Array, candidates: int) -> float:
    """Skewness of how often each candidate is a neighbour (Radovanović et al., 2010, JMLR 11).

    Args:
        neighbours: Numbers of the nearest candidates of each query, [Q, k].
        candidates: How many there are.

    Returns:
        0 where all occur equally often; high where a few are neighbours of many queries.
    """
    occurrences = np.bincount(neighbours.ravel(), minlength=candidates).astype(np.float64)
    apart = occurrences - occurrences.mean()
    spread = np.sqrt((apart**2).mean())
    return float((apart**3).mean() / spread**3) if spread else 0.0


def mean_cosine(unit: Array) -> float:
    """Mean cosine of two different sentences, -1..1 (Ethayarajh, 2019, arXiv:1909.00512).

    Args:
        unit: Rows of length one, [N, D].
    """
    size = len(unit)
    if size < 2:
        return 0.0
    whole = unit.sum(0, dtype=np.float64)
    of_itself = float((unit.astype(np.float64) ** 2).sum())
    return (float(whole @ whole) - of_itself) / (size * (size - 1))


def isotropy(unit: Array) -> float:
    """Least over greatest partition function (Mu and Viswanath, 2018, arXiv:1702.01417).

    Args:
        unit: Rows of length one, [N, D].

    Returns:
        0..1; 1 where sentences lie alike along all principal axes.
    """
    rows = unit.astype(np.float64)
    _, axes = np.linalg.eigh(rows.T @ rows)
    partition = np.exp(rows @ np.concatenate([axes, -axes], axis=1)).sum(0)
    return float(partition.min() / partition.max())
