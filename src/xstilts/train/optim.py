"""The optimiser and its schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import nn

from xstilts.backbone.sites import WHOLE, Site
from xstilts.config.specs import TrainSpec

_BLOCK = re.compile(r"(?:^|\.)(?:encoder|nodes)\.(?:[a-z_]+\.)*?(\d+)[._]")


def make_optimizer(
    parameters: Mapping[str, nn.Parameter], spec: TrainSpec, blocks: int = 0
) -> torch.optim.AdamW:
    """AdamW; vectors (biases, norms) do not decay.

    Each parameter group has a `scale` on the learning rate, 1 unless `spec.layer_decay` is below 1.

    Args:
        parameters: By name; the name says in which block a parameter is.
        spec: The settings.
        blocks: How many blocks the encoder has.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        decay = spec.weight_decay if parameter.ndim > 1 else 0.0
        scale = spec.layer_decay ** distance(name, blocks)
        groups.setdefault((decay, scale), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "weight_decay": decay, "scale": scale}
            for (decay, scale), members in groups.items()
        ],
        lr=spec.lr,
        betas=(spec.adam_beta1, spec.adam_beta2),
        eps=spec.adam_eps,
        fused=True,
    )


def distance(name: str, blocks: int) -> int:
    """How many blocks lie between a parameter and the head: 0 for the head, 1 for the last block.

    The embeddings, and what acts on their output, are one further than the first block.
    """
    at_encoder, external, own = name.partition(f"{Site(-2, WHOLE).key}.held.")
    if external:  # another library's names, with `/` for `.`
        name = f"{at_encoder}encoder.{own.replace('/', '.')}"
    found = _BLOCK.search(name)
    if found:
        return blocks - int(found[1])
    below = "embed" in name or (external and own.startswith("invertible"))
    return blocks + 1 if below else 0


def learning_rate(spec: TrainSpec, step: int, total: int) -> float:
    """Learning rate of optimiser step `step` (0-based) of `total`.

    Rises linearly over the warm-up, then falls linearly to 0 or stays.
    """
    warm = round(spec.warmup * total) if spec.warmup < 1 else int(spec.warmup)
    if step < warm:
        return spec.lr * (step + 1) / warm
    if spec.schedule == "constant":
        return spec.lr
    return spec.lr * max(0.0, (total - step) / max(1, total - warm))
