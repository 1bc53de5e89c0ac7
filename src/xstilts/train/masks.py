"""Dropout masks from 16 random bits each, where drawing them costs more than what they mask.

torch draws a mask on the CPU one number at a time: of a LoRA step in bfloat16 that is about half.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor

_BITS = 16
_VALUES = 1 << _BITS
_A_WORD = 64 // _BITS


@contextmanager
def masks_of_few_bits() -> Iterator[None]:
    """Let `bernoulli_` on the CPU keep its probability to 1/65536 only, until the block ends.

    Draws come from torch's generators as before, so that a seed gives the same masks each time, but
    other masks than outside the block.
    """
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it replaces torch's own, as it should
        library.impl("bernoulli_.float", _bernoulli, "CPU")
    try:
        yield
    finally:
        library._destroy()


def _bernoulli(tensor: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill a tensor with ones, of probability p, and zeros."""
    if not 0 < p < 1:
        return tensor.fill_(p)
    words = torch.empty(-(-tensor.numel() // _A_WORD), dtype=torch.int64)
    words.random_(-(1 << 63), None, generator=generator)
    drawn = words.view(torch.int16)[: tensor.numel()].view(tensor.shape)
    ones = min(max(round(p * _VALUES), 1), _VALUES - 1)
    return tensor.copy_(drawn < ones - _VALUES // 2)
