"""Nearest rows by cosine: searched in float32 or bfloat16, decided in float64.

One direction is searched by faiss, both at once by one product of the two sides (`both_sides`).

Cosines that differ by less than the search can tell are computed again, so that which rows are
among the nearest, and in which order, does not depend on the library, the block or the machine.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xstilts.backbone.machine import has_bf16, processor_flags
from xstilts.config.progress import ProgressFn, silent

Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]
Numbers = NDArray[np.int64]

Index = Literal["exact", "ivf", "hnsw"]
_ROWS_A_LIST = 39
"""Below which faiss complains of a centroid; so few rows are all looked at."""

BLOCK = 8192
"""Queries per search; bounds the memory of the results, and is how often progress is shown."""
_WHOLE = 64
"""Queries that are compared with the whole database at once."""
_SAMPLE = 500
"""Queries that recall is measured on, about."""
_SPARE = 8
"""Rows looked at beyond the k asked for."""
_ERROR = 1e-6
"""Above what a cosine in float32 can be wrong by."""
_WORTH_HALF = 12_288
"""Rows on each side from which a search in bfloat16 is worth its second look."""
_CORE = "OPENBLAS_CORETYPE"
"""The variable by which OpenBLAS is told of a processor."""
_DECIMALS = 13
"""Digits of a cosine: sums of the same products in another order are the same number."""


def import_faiss() -> Any:
    """faiss, told of kernels for processors that the OpenBLAS in its package does not know.

    It takes one with AMX for one without AVX, which is a fifth as fast.
    """
    told = _CORE in os.environ or "amx_tile" not in (processor_flags() or ())
    if not told:
        os.environ[_CORE] = "SkylakeX"
    try:
        import faiss
    finally:
        if not told:
            del os.environ[_CORE]
    return faiss


def normalised(vectors: Vectors) -> Vectors:
    """Rows of length one; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def nearest(
    query: Vectors,
    database: Vectors,
    k: int = 1,
    progress: ProgressFn = silent,
    index: Index = "exact",
) -> tuple[Scores, Numbers]:
    """The k nearest rows of `database` for each row of `query`, by cosine.

    Args:
        query: [queries, D].
        database: [rows, D].
        k: Neighbours of each query.
        progress: Called with the share that is done.
        index: `exact`, or one of faiss's that look at a part of the rows and may miss some: `ivf`
            (lists around centroids), `hnsw` (a graph; Malkov and Yashunin, 2016,
            arXiv:1603.09320).

    Returns:
        Cosines and row numbers, both [queries, min(k, rows)], best first, the lower number first
        among equals.
    """
    reached = _search(
        normalised(query), normalised(database), min(k, len(database)) + _SPARE, progress, index
    )
    return _settled(query, database, k, reached, index)


def nearest_both(
    source: Vectors,
    target: Vectors,
    k: int = 1,
    progress: ProgressFn = silent,
    half: bool | None = None,
) -> tuple[tuple[Scores, Numbers], tuple[Scores, Numbers]]:
    """The k nearest targets of each source and the k nearest sources of each target, by cosine.

    The same as `nearest` in both directions, in about half the time, or a quarter where the
    processor has units for bfloat16.

    Args:
        source: [S, D].
        target: [T, D].
        k: Neighbours of each row.
        progress: Called with the share that is done.
        half: Whether to search in bfloat16 first, for the same result; None where that is faster.
    """
    from xstilts.evaluate.retrieval.both_sides import search_both

    one, other, wide = normalised(source), normalised(target), k + _SPARE
    if half is None:
        half = has_bf16(unsaid=False) and min(len(source), len(target)) >= _WORTH_HALF
    if half:
        return _both_by_bfloat16((source, target), (one, other), k, progress)
    ahead, back = search_both(one, other, wide, progress)
    return _settled(source, target, k, ahead, "exact"), _settled(target, source, k, back, "exact")


def _both_by_bfloat16(
    sides: tuple[Vectors, Vectors], units: tuple[Vectors, Vectors], k: int, progress: ProgressFn
) -> Any:
    """As `nearest_both`; what a search in bfloat16 may have missed is searched in float32."""
    import torch

    from xstilts.evaluate.retrieval.both_sides import lost_by_rounding, rounding, search_both

    found = search_both(*units, k + _SPARE, progress, torch.bfloat16)
    lost = [lost_by_rounding(side) for side in units]
    settled = []
    for here, there in ((0, 1), (1, 0)):
        query, database = sides[here], sides[there]
        error = rounding(lost[here], lost[there].max(), found[here][0])
        best, doubted = _decided(query, database, k, found[here], "exact", error)
        if len(doubted):
            again = search_both(units[here][doubted], units[there], k + _SPARE, silent)[0]
            better = _settled(query[doubted], database, k, again, "exact")
            best[0][doubted], best[1][doubted] = better
        settled.append(best)
    return tuple(settled)


def _settled(
    query: Vectors, database: Vectors, k: int, searched: tuple[Vectors, Numbers], index: Index
) -> tuple[Scores, Numbers]:
    """The k nearest of the rows that a search in float32 found; of all rows where in doubt."""
    best, doubted = _decided(query, database, k, searched, index, _ERROR)
    if len(doubted):
        lengths = _lengths(database)
        for start in range(0, len(doubted), _WHOLE):
            rows = doubted[start : start + _WHOLE]
            found = _whole_rows(query[rows], database, lengths, best[0].shape[1])
            best[0][rows], best[1][rows] = found
    return best


def _decided(
    query: Vectors,
    database: Vectors,
    k: int,
    searched: tuple[Vectors, Numbers],
    index: Index,
    error: float | Vectors,
) -> tuple[tuple[Scores, Numbers], Numbers]:
    """The k nearest of the rows that a search found, and the queries that may have nearer ones.

    Args:
        query: [queries, D].
        database: [rows, D].
        k: Neighbours of each query.
        searched: Similarities and row numbers, both [queries, width], best first.
        index: What was searched.
        error: What a similarity is wrong by at most, [queries, width] or one for all.
    """
    reached, numbers = searched
    width = min(k, len(database))
    own, lengths = _lengths(query), _lengths(database)
    cosines = np.full(numbers.shape, -np.inf)
    least = (reached - error)[:, :width].min(1)
    possible = np.nonzero(reached + error >= least[:, None])
    for start in range(0, len(possible[0]), BLOCK):
        row, place = (part[start : start + BLOCK] for part in possible)
        other = numbers[row, place]
        products = np.einsum("nd,nd->n", query[row], database[other], dtype=np.float64)
        cosines[row, place] = _cosines(products, own[row] * lengths[other])
    order = np.lexsort((numbers, -cosines), axis=-1)[:, :width]
    best = np.take_along_axis(cosines, order, 1), np.take_along_axis(numbers, order, 1)
    if numbers.shape[1] == len(database):
        return best, np.empty(0, np.int64)
    return best, np.flatnonzero(_in_doubt((reached + error)[:, -1], best[0], numbers, index))


def recall(query: Vectors, database: Vectors, k: int, index: Index) -> float:
    """Share of the exact k nearest rows that an index finds, 0 to 1, on some of the queries."""
    some = query[:: max(1, len(query) // _SAMPLE)]
    exact, found = nearest(some, database, k)[1], nearest(some, database, k, index=index)[1]
    return float(
        np.mean([np.isin(one, other).mean() for one, other in zip(exact, found, strict=True)])
    )


def _in_doubt(missed: Vectors, best: Scores, numbers: Numbers, index: Index) -> NDArray[np.bool_]:
    """Queries of which the search may have missed a neighbour, [Q].

    Args:
        missed: The largest cosine that a row can have that was not found, [Q].
        best: Cosines of the nearest, [Q, k].
        numbers: Of the rows that were found, -1 where an index found too few.
        index: What was searched.
    """
    doubted: NDArray[np.bool_] = missed > best[:, -1]
    lacking: NDArray[np.bool_] = np.any(numbers < 0, axis=1)
    return doubted if index == "exact" else lacking


def _index(database: Vectors, kind: Index) -> Any:
    """A searchable index of normalised rows."""
    faiss = import_faiss()
    rows, size = database.shape
    if kind == "hnsw":
        index: Any = faiss.IndexHNSWFlat(size, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 200, 128
    elif kind == "ivf" and rows >= _ROWS_A_LIST:
        lists = min(int(4 * rows**0.5), rows // _ROWS_A_LIST)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(size), size, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(database)
        index.nprobe = max(1, lists // 16)
    else:
        index = faiss.IndexFlatIP(size)
    index.add(database)
    return index


def _search(
    query: Vectors, database: Vectors, k: int, progress: ProgressFn, kind: Index
) -> tuple[Vectors, Numbers]:
    """Similarities and numbers of the nearest normalised rows, as float32 has them."""
    index = _index(database, kind)
    width = min(k, len(database))
    similarity = np.empty((len(query), width), np.float32)
    numbers = np.empty((len(query), width), np.int64)
    for start in range(0, len(query), BLOCK):
        rows = slice(start, start + BLOCK)
        similarity[rows], numbers[rows] = index.search(query[rows], width)
        progress("searching", min(1.0, (start + BLOCK) / len(query)))
    return similarity, numbers


def _whole_rows(
    query: Vectors, database: Vectors, lengths: Scores, width: int
) -> tuple[Scores, Numbers]:
    """The nearest rows of queries that have more equals than were searched for."""
    products = np.empty((len(query), len(database)))
    wide = query.astype(np.float64)
    for start in range(0, len(database), BLOCK):
        rows = slice(start, start + BLOCK)
        products[:, rows] = wide @ database[rows].T
    cosines = _cosines(products, _lengths(query)[:, None] * lengths)
    worst = -np.partition(-cosines, width - 1, axis=1)[:, width - 1]
    numbers = np.empty((len(query), width), np.int64)
    for row, (values, least) in enumerate(zip(cosines, worst, strict=True)):
        near = np.flatnonzero(values >= least)
        numbers[row] = near[np.argsort(-values[near], kind="stable")[:width]]
    return np.take_along_axis(cosines, numbers, 1), numbers


def _cosines(products: Scores, sizes: Scores) -> Scores:
    """Products over what the lengths of the two sides multiply to."""
    rounded: Scores = np.round(products / np.maximum(sizes, 1e-24), _DECIMALS)
    return rounded


def _lengths(vectors: NDArray[Any]) -> Scores:
    """Length of each row, summed in float64."""
    squares: Scores = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)
