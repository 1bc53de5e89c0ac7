"""The optimiser and its schedule."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from xstilts.specs import TrainSpec


def make_optimizer(parameters: Mapping[str, nn.Parameter], spec: TrainSpec) -> torch.optim.AdamW:
    """AdamW; vectors (biases, norms) do not decay."""
    groups = [
        {
            "params": [p for p in parameters.values() if p.ndim > 1],
            "weight_decay": spec.weight_decay,
        },
        {"params": [p for p in parameters.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=spec.lr,
        betas=(spec.adam_beta1, spec.adam_beta2),
        eps=spec.adam_eps,
    )


def rate(spec: TrainSpec, step: int, total: int) -> float:
    """Learning rate of optimiser step `step` (0-based) of `total`.

    Rises linearly over the warm-up, then falls linearly to 0 or stays.
    """
    warm = round(spec.warmup * total) if spec.warmup < 1 else int(spec.warmup)
    if step < warm:
        return spec.lr * (step + 1) / warm
    if spec.schedule == "constant":
        return spec.lr
    return spec.lr * max(0.0, (total - step) / max(1, total - warm))
