"""Weights, gradients and optimiser states spread over processes (FSDP), for backbones that need it.

Each block of the encoder is gathered when it runs and dropped after, by torch's `fully_shard` (Zhao
et al., 2023, arXiv:2304.11277). What is written to disk is whole, so that a run may go on with
another number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn


def shard(model: nn.Module, blocks: Sequence[nn.Module], device: str, count: int) -> nn.Module:
    """Spread the parameters of a model over `count` processes, in place; every process calls it.

    Args:
        model: With `logits`, which may be called as the model itself is.
        blocks: Parts of it that are gathered one at a time.
        device: Type of the processes' devices.
        count: Processes.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device, (count,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "logits")
    return model


def whole(tensor: Tensor) -> Tensor:
    """A tensor with the parts of all processes, which all call this; others as they are."""
    return tensor.full_tensor() if _is_spread(tensor) else tensor


def _is_spread(tensor: Tensor) -> TypeGuard[Any]:
    """Whether it is a `DTensor`; torch takes long to import that class."""
    return hasattr(tensor, "full_tensor")


def like(parameter: Tensor, value: Tensor) -> Tensor:
    """A whole tensor on the device of `parameter`, spread as that one is."""
    value = value.to(parameter.device)
    if not _is_spread(parameter):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def put(parameter: nn.Parameter, value: Tensor) -> None:
    """Copy a whole tensor into a parameter."""
    with torch.no_grad():
        parameter.copy_(like(parameter, value))
