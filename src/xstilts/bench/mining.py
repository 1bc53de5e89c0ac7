"""Mining of translations beside two plain faiss searches, and in bfloat16 beside float32."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from xstilts.bench import Result, compare
from xstilts.evaluate.retrieval.mining import mine
from xstilts.evaluate.retrieval.neighbours import import_faiss, nearest_both, normalised

NEIGHBOURS = 4


def mining(size: str, pairs: int, sentences: int = 25_000) -> Result:
    """Mined pairs against the neighbours of both sides by IndexFlatIP, which is a part of them."""
    source, target = _sides(size, sentences)

    def ours() -> object:
        return mine(source, target, NEIGHBOURS)

    def theirs() -> None:
        sides = normalised(source), normalised(target)
        _search(*sides)
        _search(*sides[::-1])

    shape = _shape(source)
    note = f"{shape}, margin and pairs too; theirs: faiss, both directions"
    return compare("mining", ours, theirs, pairs=pairs, target_ratio=1.5, note=note)


def mining_large(size: str, pairs: int) -> Result:
    """The same with 100,000 sentences a side."""
    return mining(size, pairs, 100_000)


def mining_bf16(size: str, pairs: int) -> Result:
    """Neighbours of both sides, the same ones, by bfloat16 first against float32 alone."""
    source, target = _sides(size, 100_000)
    both = [partial(nearest_both, source, target, NEIGHBOURS, half=half) for half in (True, False)]
    note = f"{_shape(source)}, the same neighbours; theirs: our own in float32"
    return compare("mining, bf16", *both, pairs=pairs, target_ratio=2.0, note=note)


def _sides(size: str, sentences: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of both sides; half of the targets are translations."""
    count, width = (2_000, 128) if size == "tiny" else (sentences, 1024)
    draw = np.random.default_rng(0)
    source, target = (draw.standard_normal((count, width), dtype=np.float32) for _ in range(2))
    target[::2] += 2 * source[::2]
    return source, target


def _shape(side: NDArray[np.float32]) -> str:
    count, width = side.shape
    return f"{count:,} x {count:,} x {width}"


def _search(query: NDArray[np.float32], database: NDArray[np.float32]) -> None:
    faiss = import_faiss()
    index = faiss.IndexFlatIP(database.shape[1])
    index.add(database)
    index.search(query, NEIGHBOURS)
