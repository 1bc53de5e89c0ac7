"""Sentence vectors to neighbours, mined pairs and thresholds (XTREME's protocol, LASER's margin).

Margin-based mining: Artetxe and Schwenk, 2019, arXiv:1811.01136.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from xstilts.config.progress import ProgressFn, silent
from xstilts.errors import UsageError
from xstilts.evaluate.retrieval.neighbours import (
    Index,
    Numbers,
    Scores,
    Vectors,
    nearest,
    nearest_both,
)

Candidate = tuple[float, int, int]
"""(score, source number, target number)."""
Margin = Literal["ratio", "distance", "absolute"]
Direction = Literal["max", "forward", "backward", "intersection"]

MARGINS = ("absolute", "distance", "ratio")
DIRECTIONS = ("backward", "forward", "intersection", "max")
_ALSO = {"fwd": "forward", "bwd": "backward", "intersect": "intersection"}


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
    progress: ProgressFn = silent,
    index: Index = "exact",
) -> list[Candidate]:
    """Pairs of sentences that are each other's translation, best first.

    Cosines, margins and order are float64; among equals the lower number is taken. Besides the two
    sides, memory holds three normalised copies and k + 8 numbers a sentence.

    Args:
        source: [S, D], the foreign side.
        target: [T, D], the English side.
        k: Neighbours looked at on each side, at most the size of the other side.
        margin: How a cosine is set against the mean of its neighbourhood: `ratio`, `distance`
            (difference) or `absolute` (the cosine itself).
        direction: `forward` takes the best target of each source, `backward` the reverse,
            `intersection` the pairs in both, `max` both lists merged greedily, each sentence once.
        threshold: `max` keeps scores strictly above it.
        progress: Called with the share that is done.
        index: What neighbours are looked up in; only `exact` finds all (`neighbours.recall`).

    Raises:
        UsageError: Another margin or direction, a side without sentences, or vectors that are not
            [rows, D] of finite numbers.
    """
    direction = require_mining(margin, direction)
    if not len(source) or not len(target) or k < 1:
        raise UsageError("mining needs sentences on both sides and at least one neighbour")
    source, target = _floats(source), _floats(target)
    if index == "exact":
        ahead, back = nearest_both(source, target, k, progress)
    else:
        ahead = nearest(source, target, k, lambda text, done: progress(text, done / 2), index)
        back = nearest(target, source, k, lambda text, done: progress(text, 0.5 + done / 2), index)
    source_mean, target_mean = ahead[0].mean(1), back[0].mean(1)
    forward = _best(_margin(margin, ahead[0], source_mean[:, None], target_mean[ahead[1]]), ahead)
    backward = _best(_margin(margin, back[0], target_mean[:, None], source_mean[back[1]]), back)
    return _pairs(forward, backward, direction, threshold)


def _floats(vectors: Any) -> Vectors:
    """Rows as they are when they are single or double precision, otherwise in single."""
    array: Vectors = np.asarray(vectors)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    if array.ndim != 2 or not np.isfinite(array.sum()):
        finite = "a row holds what is no finite number" if array.ndim == 2 else "not [rows, D]"
        raise UsageError(f"vectors that cannot be compared: {finite}")
    return array


def require_mining(margin: str, direction: str) -> Any:
    """The full name of a direction.

    Raises:
        UsageError: There is no such margin or direction.
    """
    full = _ALSO.get(direction, direction)
    if margin not in MARGINS:
        raise UsageError(f"no margin named '{margin}'", hint=f"Known: {', '.join(MARGINS)}.")
    if full not in DIRECTIONS:
        known = ", ".join(DIRECTIONS)
        raise UsageError(f"no direction named '{direction}'", hint=f"Known: {known}.")
    return full


def _margin(margin: str, similarity: Scores, own: Scores, other: Scores) -> Scores:
    """The score of each pair; a ratio to a mean of zero is 0."""
    middle = (own + other) / 2
    if margin == "ratio":
        ratio = np.zeros_like(similarity)
        return np.divide(similarity, middle, out=ratio, where=middle != 0)
    return similarity - middle if margin == "distance" else similarity


def _best(scores: Scores, neighbours: tuple[Scores, Numbers]) -> tuple[Scores, Numbers]:
    """Score and number of the best candidate of each row."""
    best = scores.argmax(1)
    rows = np.arange(len(scores))
    return scores[rows, best], neighbours[1][rows, best]


def _pairs(
    forward: tuple[Scores, Numbers],
    backward: tuple[Scores, Numbers],
    direction: str,
    threshold: float,
) -> list[Candidate]:
    ahead = [(float(s), i, int(j)) for i, (s, j) in enumerate(zip(*forward, strict=True))]
    back = [(float(s), int(i), j) for j, (s, i) in enumerate(zip(*backward, strict=True))]
    if direction == "forward":
        return sorted(ahead, key=lambda c: -c[0])
    if direction == "backward":
        return sorted(back, key=lambda c: -c[0])
    if direction == "intersection":
        both = {(i, j) for _, i, j in back}
        return sorted((c for c in ahead if c[1:] in both), key=lambda c: -c[0])
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
    progress: ProgressFn = silent,
    index: Index = "exact",
) -> list[Candidate]:
    """Mine line numbers from texts that may repeat, as XTREME's BUCC scripts do.

    Equal lines become one before mining, with the vector of the last; lines whose stripped text
    occurs more than once are discarded from the result.
    """
    source_last = {text: number for number, text in enumerate(source_texts)}
    target_last = {text: number for number, text in enumerate(target_texts)}
    source_rows, target_rows = list(source_last.values()), list(target_last.values())
    kept_source = source if len(source_rows) == len(source) else source[source_rows]
    kept_target = target if len(target_rows) == len(target) else target[target_rows]
    found = mine(kept_source, kept_target, k, margin, direction, threshold, progress, index)
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


def optimize_threshold(candidates: Sequence[Candidate], gold: Iterable[Sequence[Any]]) -> float:
    """The score threshold with the best F1 on labelled candidates.

    Walks down the scores and, at each new best F1, sets the threshold midway to the next score;
    at the last candidate it is that candidate's own score. 0 when no candidate is right.
    """
    ordered = sorted(candidates, key=lambda c: -c[0])
    wanted = {tuple(pair) for pair in gold}
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
