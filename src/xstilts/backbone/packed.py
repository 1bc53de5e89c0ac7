"""Projections of a frozen encoder in the memory layout that the CPU multiplies fastest."""

from __future__ import annotations

import platform
from typing import Any, cast

import torch
from torch import Tensor, nn

LEAST_ROWS = 256
"""Rows of an input from which on packing pays; smaller ones take torch's own path."""
MEMORY_LIMIT = 2 << 30
"""Bytes of an encoder's projections above which no second copy of them is kept."""


def pack(blocks: nn.Module) -> None:
    """Let the projections of `blocks` keep their weights a second time, packed, once they are used.

    That is 10 to 20 % faster than torch's product of row-major weights, and equal to float error.
    Which path an input takes depends on its shape only, so results repeat bit by bit. Weights that
    train, other devices and autocast take torch's own path.
    """
    linears = [module for module in blocks.modules() if type(module) is nn.Linear]
    size = sum(linear.weight.numel() * linear.weight.element_size() for linear in linears)
    if _available() and size <= MEMORY_LIMIT:
        for linear in linears:
            linear.__class__ = PackedLinear


def unpack(blocks: nn.Module) -> None:
    """Make plain layers of them again."""
    for module in blocks.modules():
        if isinstance(module, PackedLinear):
            vars(module).pop("packed", None)
            cast("nn.Module", module).__class__ = nn.Linear


class PackedLinear(nn.Linear):
    """An affine map whose frozen weight is also kept in oneDNN's blocked layout."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        packed = self._packed() if self._fits(input) else None
        if packed is None:
            return nn.functional.linear(input, self.weight, self.bias)
        if torch.is_grad_enabled() and input.requires_grad:
            product: Any = _Product.apply
            return cast("Tensor", product(input, packed, self.weight, self.bias))
        return _product(input, packed, self.bias)

    def _fits(self, x: Tensor) -> bool:
        trains = self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)
        return (
            x.numel() >= LEAST_ROWS * self.in_features
            and x.dtype == self.weight.dtype == torch.float32
            and x.device.type == self.weight.device.type == "cpu"
            and not trains
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )

    def _packed(self) -> Tensor:
        """The packed weight, made anew when other weights have been put in place."""
        # The source is kept alive, so that no other tensor can come to lie at its address.
        packed, source, version = vars(self).get("packed", (None, None, -1))
        current = self.weight
        if (
            packed is None
            or source.data_ptr() != current.data_ptr()
            or version != _version(current)
        ):
            with torch.inference_mode(mode=False), torch.no_grad():
                packed = torch.ops.mkldnn._reorder_linear_weight(current.detach(), 1024)
            vars(self)["packed"] = packed, current.detach(), _version(current)
        return cast("Tensor", packed)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: the packed weight is made again where it is needed."""
        return {name: value for name, value in vars(self).items() if name != "packed"}


class _Product(torch.autograd.Function):
    """The packed product with the gradient of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(x, packed, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] @ weight, None, None, None


def _product(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    result = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return cast("Tensor", result)


def _version(tensor: Tensor) -> int:
    """Changes with every change in place; tensors of inference mode cannot be changed."""
    return -1 if tensor.is_inference() else tensor._version


def _available() -> bool:
    built: Any = torch.backends.mkldnn.is_available
    known = platform.machine() in ("x86_64", "AMD64") and built()
    return known and hasattr(torch.ops.mkldnn, "_linear_pointwise")
