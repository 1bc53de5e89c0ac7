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

XNLI_LENGTHS = (
    *(10, 20, 23, 24, 26, 27, 29, 30, 31, 32, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43),
    *(44, 45, 46, 48, 49, 50, 51, 52, 54, 55, 56, 58, 59, 61, 63, 65, 67, 70, 74, 79, 96),
)
TATOEBA_LENGTHS = (
    *(4, 6, 7, 7, 7, 7, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 10, 10, 10),
    *(10, 10, 11, 11, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 15, 16, 17, 19, 22, 39),
)
QA_LENGTHS = (
    *(22, 37, 44, 51, 57, 61, 65, 69, 73, 76, 81, 85, 89, 93, 97, 102, 107, 112, 116, 121),
    *(126, 131, 136, 141, 147, 153, 158, 166, 172, 181, 189, 198, 208, 220, 233, 245, 263, 279),
    *(321, 384, 384),
)
MNLI_LENGTHS = (
    *(8, 15, 18, 19, 21, 22, 24, 25, 26, 28, 29, 30, 31, 32, 34, 35, 36, 37, 38, 40),
    *(41, 42, 43, 45, 46, 48, 49, 51, 53, 54, 56, 58, 60, 62, 65, 68, 71, 75, 81, 92, 118),
)
"""Sub-words by XLM-R's tokenizer, special ones included, by 2.5 %: of 27,390 XNLI dev pairs in
eleven languages, of 63,384 Tatoeba sentences in 37, of 1,947 TyDiQA windows (384 with steps of 128)
in five, and of 19,647 MultiNLI pairs. The last of each is not the longest (123, 164, 384 and 246)
but makes the mean that of the rows: 45.7, 11.2, 144.8 and 44.3."""

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
