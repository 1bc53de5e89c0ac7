"""Mining of translations beside two plain faiss searches."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from xstilts.bench import Result, compare
from xstilts.evaluate.retrieval.mining import mine
from xstilts.evaluate.retrieval.neighbours import normalised

NEIGHBOURS = 4


def mining(size: str, pairs: int, sentences: int = 25_000) -> Result:
    """Mined pairs against the neighbours of both sides by IndexFlatIP, which is a part of them."""
    count, width = (2_000, 128) if size == "tiny" else (sentences, 1024)
    draw = np.random.default_rng(0)
    source, target = (draw.standard_normal((count, width), dtype=np.float32) for _ in range(2))
    target[::2] += 2 * source[::2]  # half of them have a translation

    def ours() -> object:
        return mine(source, target, NEIGHBOURS)

    def theirs() -> None:
        sides = normalised(source), normalised(target)
        _search(*sides)
        _search(*sides[::-1])

    note = f"{count:,} x {count:,} x {width}, margin and pairs too; theirs: faiss, both directions"
    return compare("mining", ours, theirs, pairs=pairs, target_ratio=1.5, note=note)


def mining_large(size: str, pairs: int) -> Result:
    """The same with 100,000 sentences a side."""
    return mining(size, pairs, 100_000)


def _search(query: NDArray[np.float32], database: NDArray[np.float32]) -> None:
    index = faiss.IndexFlatIP(database.shape[1])
    index.add(database)
    index.search(query, NEIGHBOURS)
