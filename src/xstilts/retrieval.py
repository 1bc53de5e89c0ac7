"""Sentence vectors to neighbours, mined pairs and thresholds (XTREME's protocol, LASER's margin).

Margin-based mining: Artetxe and Schwenk, 2019, arXiv:1811.01136.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xstilts.errors import UsageError

Vectors = NDArray[np.float32]
Candidate = tuple[float, int, int]
"""(score, source number, target number)."""
Margin = Literal["ratio", "distance", "absolute"]
Direction = Literal["max", "forward", "backward", "intersect"]

BLOCK = 65536
"""Queries per search; bounds the memory of the results."""


def pool(
    hidden_states: Sequence[Tensor] | Tensor, mask: Tensor, layer: int = -1, how: str = "mean"
) -> Tensor:
    """Sentence vectors [B, D] from one layer.

    Args:
        hidden_states: The tensors [B, T, D] of every layer, 0 the embedding output; or one tensor.
        mask: [B, T], 1 for real sub-words.
        layer: Which of them.
        how: `mean` over all real positions, `<s>` and `</s>` included, or `cls`, the first.

    Raises:
        UsageError: Another way of pooling.
    """
    states = hidden_states if isinstance(hidden_states, Tensor) else hidden_states[layer]
    if how == "cls":
        return states[:, 0]
    if how != "mean":
        raise UsageError(f"no pooling named '{how}'", hint="Known: cls, mean.")
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(1) / weights.sum(1)


def normalised(vectors: Vectors) -> Vectors:
    """Rows of length one; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def nearest(query: Vectors, database: Vectors, k: int = 1) -> tuple[Vectors, NDArray[np.int64]]:
    """The k nearest rows of `database` for each row of `query`, exact, by cosine.

    Returns:
        Similarities and row numbers, both [queries, k], best first.
    """
    import faiss

    index: Any = faiss.IndexFlatIP(database.shape[1])
    index.add(normalised(database))
    query = normalised(query)
    found = [index.search(query[i : i + BLOCK], k) for i in range(0, len(query), BLOCK)]
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


# --------------------------------------------------------------------------------------- Tatoeba


def pivot_order(lines: Sequence[str]) -> list[int]:
    """Line numbers in the order of the pivot file: stripped lines by code point, stable."""
    return sorted(range(len(lines)), key=lambda number: lines[number].strip())


# ---------------------------------------------------------------------------------------- mining


def mine(
    source: Vectors,
    target: Vectors,
    k: int = 4,
    margin: Margin = "ratio",
    direction: Direction = "max",
    threshold: float = 0.0,
) -> list[Candidate]:
    """Pairs of sentences that are each other's translation, best first.

    Args:
        source: [S, D], the foreign side.
        target: [T, D], the English side.
        k: Neighbours looked at on each side, at most the size of the other side.
        margin: How a cosine is set against the mean of its neighbourhood: `ratio`, `distance`
            (difference) or `absolute` (the cosine itself).
        direction: `forward` takes the best target of each source, `backward` the reverse,
            `intersect` the pairs in both, `max` both lists merged greedily, each sentence once.
        threshold: `max` keeps scores strictly above it.
    """
    forward_similarity, forward_ids = nearest(source, target, min(k, len(target)))
    backward_similarity, backward_ids = nearest(target, source, min(k, len(source)))
    source_mean, target_mean = forward_similarity.mean(1), backward_similarity.mean(1)
    forward = _best(
        _scores(margin, forward_similarity, source_mean[:, None], target_mean[forward_ids]),
        forward_ids,
    )
    backward = _best(
        _scores(margin, backward_similarity, target_mean[:, None], source_mean[backward_ids]),
        backward_ids,
    )
    return _pairs(forward, backward, direction, threshold)


def _scores(margin: str, similarity: Vectors, own: Vectors, other: Vectors) -> Vectors:
    middle = (own + other) / 2
    if margin == "ratio":
        return np.asarray(similarity / middle, np.float32)
    if margin == "distance":
        return np.asarray(similarity - middle, np.float32)
    if margin == "absolute":
        return similarity
    raise UsageError(f"no margin named '{margin}'", hint="Known: absolute, distance, ratio.")


def _best(scores: Vectors, ids: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.int64]]:
    """Score and number of the best candidate of each row."""
    best = scores.argmax(1)
    rows = np.arange(len(scores))
    return scores[rows, best], ids[rows, best]


def _pairs(
    forward: tuple[Vectors, NDArray[np.int64]],
    backward: tuple[Vectors, NDArray[np.int64]],
    direction: str,
    threshold: float,
) -> list[Candidate]:
    ahead = [(float(s), i, int(j)) for i, (s, j) in enumerate(zip(*forward, strict=True))]
    back = [(float(s), int(i), j) for j, (s, i) in enumerate(zip(*backward, strict=True))]
    if direction in ("forward", "fwd"):
        return sorted(ahead, key=lambda c: -c[0])
    if direction in ("backward", "bwd"):
        return sorted(back, key=lambda c: -c[0])
    if direction == "intersect":
        both = {(i, j) for _, i, j in back}
        return sorted((c for c in ahead if c[1:] in both), key=lambda c: -c[0])
    if direction != "max":
        known = "backward, forward, intersect, max"
        raise UsageError(f"no direction named '{direction}'", hint=f"Known: {known}.")
    sources: set[int] = set()
    targets: set[int] = set()
    kept: list[Candidate] = []
    for score, i, j in sorted(ahead + back, key=lambda c: -c[0]):
        if i not in sources and j not in targets:
            sources.add(i)
            targets.add(j)
            if score > threshold:
                kept.append((score, i, j))
    return kept


def mine_texts(
    source_texts: Sequence[str],
    target_texts: Sequence[str],
    source: Vectors,
    target: Vectors,
    k: int = 4,
    margin: Margin = "ratio",
    direction: Direction = "max",
    threshold: float = 0.0,
) -> list[Candidate]:
    """Mine line numbers from texts that may repeat, as XTREME's BUCC scripts do.

    Equal lines become one before mining, with the vector of the last; lines whose stripped text
    occurs more than once are discarded from the result.
    """
    source_last = {text: number for number, text in enumerate(source_texts)}
    target_last = {text: number for number, text in enumerate(target_texts)}
    source_rows, target_rows = list(source_last.values()), list(target_last.values())
    found = mine(source[source_rows], target[target_rows], k, margin, direction, threshold)
    lone_source, lone_target = _lone(source_texts), _lone(target_texts)
    return [
        (score, source_rows[i], target_rows[j])
        for score, i, j in found
        if source_rows[i] in lone_source and target_rows[j] in lone_target
    ]


def _lone(texts: Sequence[str]) -> set[int]:
    first: dict[str, int] = {}
    repeated: set[str] = set()
    for number, text in enumerate(texts):
        key = text.strip()
        if key in first:
            repeated.add(key)
        first.setdefault(key, number)
    return {number for key, number in first.items() if key not in repeated}


def optimize_threshold(candidates: Sequence[Candidate], gold: Collection[tuple[int, int]]) -> float:
    """The score threshold with the best F1 on labelled candidates.

    Walks down the scores and, at each new best F1, sets the threshold midway to the next score;
    at the last candidate it is that candidate's own score. 0 when no candidate is right.
    """
    ordered = sorted(candidates, key=lambda c: -c[0])
    wanted = set(gold)
    right, best, threshold = 0, 0.0, 0.0
    for number, (score, i, j) in enumerate(ordered, 1):
        right += (i, j) in wanted
        if not right:
            continue
        precision, recall = right / number, right / len(wanted)
        f1 = 2 * precision * recall / (precision + recall)
        if f1 > best:
            best = f1
            following = ordered[number][0] if number < len(ordered) else score
            threshold = (score + following) / 2
    return threshold


def extract(candidates: Sequence[Candidate], threshold: float) -> list[tuple[int, int]]:
    """The pairs that score at least the threshold."""
    return [(i, j) for score, i, j in candidates if score >= threshold]
