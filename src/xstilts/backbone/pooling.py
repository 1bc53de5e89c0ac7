"""One vector for a text out of the vectors of its sub-words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from xstilts.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Pooling: TypeAlias = Literal["mean", "cls", "last"]
POOLINGS: tuple[str, ...] = get_args(Pooling)
"""The mean over all real sub-words, special ones included; the first of them; the last."""


def pool(hidden_BTD: Tensor, mask_BT: Tensor | None, how: str) -> Tensor:
    """The vectors [B, D] of texts.

    Args:
        hidden_BTD: One hidden state, padded on the right.
        mask_BT: 1 for real sub-words; None where all are.
        how: One of `POOLINGS`.

    Raises:
        UsageError: Another way of pooling.
    """
    import torch  # not above: formats name the ways of pooling, and are read without torch

    if how == "cls":
        return hidden_BTD[:, 0]
    if how not in POOLINGS:
        raise UsageError(f"no pooling named '{how}'", hint=f"Known: {', '.join(sorted(POOLINGS))}.")
    if mask_BT is None:
        mask_BT = hidden_BTD.new_ones(hidden_BTD.shape[:2])
    real = mask_BT.to(hidden_BTD.device).bool()
    if how == "last":
        last = real.sum(1).sub(1).clamp(min=0)
        return hidden_BTD[torch.arange(len(last), device=last.device), last]
    if hidden_BTD.dtype in (torch.bfloat16, torch.float16):
        hidden_BTD = hidden_BTD.float()  # a sum of many half-precision values loses digits
    return hidden_BTD.masked_fill(~real.unsqueeze(-1), 0).sum(1) / real.sum(1, keepdim=True)
