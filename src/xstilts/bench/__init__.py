"""Speed and memory beside the libraries that a user would pick instead, in one run.

A comparison runs ours and theirs in turns, A B A B, and reports medians, their ratio and spread.
Models have random weights and the real architectures; lengths are those of real data.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

XNLI_DECILES = (10, 34, 42, 48, 54, 60, 67, 74, 82, 94, 158)
TATOEBA_DECILES = (4, 9, 10, 11, 12, 13, 15, 16, 18, 22, 209)
QA_DECILES = (23, 81, 106, 132, 159, 189, 220, 262, 306, 384, 384)
"""Sub-words of XNLI dev pairs in eight languages, of Tatoeba sentences and of TyDiQA dev windows
(384 with steps of 128) in five languages, special ones included, by a 32,000-piece Unigram
tokenizer made from NTREX text; XLM-R's own pieces are somewhat longer."""
MNLI_LENGTHS = (
    *(8, 15, 18, 19, 21, 22, 24, 25, 26, 28, 29, 30, 31, 32, 34, 35, 36, 37, 38, 40),
    *(41, 42, 43, 45, 46, 48, 49, 51, 53, 54, 56, 58, 60, 62, 65, 68, 71, 75, 81, 92, 118),
)
"""Sub-words of 19,647 MultiNLI pairs by XLM-R's tokenizer, special ones included, by 2.5 %.
The last is not the longest, 246, but makes the mean that of the pairs, 44.3."""

Work = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """One comparison.

    Attributes:
        ours, theirs: Median of one turn, in `unit`.
        ratio: Median of theirs / ours over the pairs: above 1, ours is faster.
        low, high: Smallest and largest ratio of a pair.
        target_ratio: The ratio that is promised; 0 when there is none.
        note: What is compared.
        unit: `seconds`, or `bytes` for memory.
    """

    name: str
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    target_ratio: float
    note: str
    unit: str = "seconds"


def compare(
    name: str,
    ours: Work,
    theirs: Work,
    *,
    pairs: int = 5,
    target_ratio: float = 0.0,
    note: str = "",
) -> Result:
    """Run both in turns, once unmeasured, then `pairs` times."""
    ours(), theirs()
    first, second = [], []
    for _ in range(pairs):
        first.append(seconds(ours))
        second.append(seconds(theirs))
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    return Result(
        name,
        statistics.median(first),
        statistics.median(second),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        target_ratio,
        note,
    )


def seconds(work: Work) -> float:
    """Wall time of one turn; waits for a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def gemm_peak(size: int = 1536, turns: int = 8) -> float:
    """The most floating-point operations a second that a square float32 matrix product reaches."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = min(seconds(lambda: a @ b) for _ in range(turns))
    return 2.0 * size**3 / best


def bandwidth(megabytes: int = 256, turns: int = 5) -> float:
    """Bytes a second of a copy that is larger than the caches, read and written."""
    source = torch.empty(megabytes * 2**20, dtype=torch.uint8)
    target = torch.empty_like(source)
    best = min(seconds(lambda: target.copy_(source)) for _ in range(turns))
    return 2.0 * source.numel() / best
