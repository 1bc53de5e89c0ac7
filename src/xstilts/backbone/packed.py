"""Projections of a frozen encoder in the memory layout that the CPU multiplies fastest."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from xstilts.backbone.machine import has_bf16

LEAST_ROWS = 256
"""Rows of an input from which on packing pays; smaller ones take torch's own path."""
MEMORY_LIMIT = 2 << 30
"""Bytes of an encoder's projections above which no second copy of them is kept."""


def pack(blocks: nn.Module) -> None:
    """Let the projections of `blocks` keep their weights a second time, packed, once they are used.

    That is 10 to 20 % faster than torch's product of row-major weights, and equal to float error;
    in bfloat16 autocast it spares casting frozen weights at every use. Which path an input takes
    depends on its shape only, so results repeat bit by bit. Weights that train and other devices
    take torch's own path.
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


@dataclass(frozen=True)
class _Weights:
    """What one layer keeps for one number format.

    Attributes:
        packed: The weight in oneDNN's blocked layout.
        weight: The same row-major, for the gradient.
        source: What both were made of, kept alive so that no other tensor comes to lie at its
            address.
        version: Of the source.
    """

    packed: Tensor
    weight: Tensor
    source: Tensor
    version: int

    def are_of(self, weight: Tensor) -> bool:
        """Whether `weight` is what these were made of, unchanged."""
        return self.source.data_ptr() == weight.data_ptr() and self.version == _version(weight)


class PackedLinear(nn.Linear):
    """An affine map whose frozen weight is also kept in oneDNN's blocked layout."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        kind = self._fits(input)
        if kind is None:
            return nn.functional.linear(input, self.weight, self.bias)
        weights, x = self._weights(kind), input.to(kind)
        bias = None if self.bias is None else self.bias.to(kind)
        if torch.is_grad_enabled() and x.requires_grad:
            product: Any = _Product.apply
            return cast("Tensor", product(x, weights.packed, weights.weight, bias))
        return _product(x, weights.packed, bias)

    def _fits(self, x: Tensor) -> torch.dtype | None:
        """What an input is multiplied in from packed weights; None where torch's own path is."""
        trains = self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)
        fits = (
            x.numel() >= LEAST_ROWS * self.in_features
            and self.weight.dtype == torch.float32
            and x.device.type == self.weight.device.type == "cpu"
            and not trains
            and not torch.compiler.is_compiling()
        )
        return _kind(x.dtype) if fits else None

    def _weights(self, kind: torch.dtype) -> _Weights:
        """The weights in a number format, made anew when others have been put in place."""
        kept: dict[torch.dtype, _Weights] = vars(self).setdefault("packed", {})
        if kind not in kept or not kept[kind].are_of(self.weight):
            with torch.inference_mode(mode=False), torch.no_grad():
                source = self.weight.detach()
                weight = source.to(kind)
                packed = torch.ops.mkldnn._reorder_linear_weight(weight, 1024)
            kept[kind] = _Weights(packed, weight, source, _version(self.weight))
        return kept[kind]

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


def _kind(given: torch.dtype) -> torch.dtype | None:
    """The number format of a product of such an input; None where packing does not serve it."""
    if not torch.is_autocast_enabled("cpu"):
        return given if given == torch.float32 else None
    kind = torch.get_autocast_dtype("cpu")
    half = kind == torch.bfloat16 and has_bf16(unsaid=False)
    return kind if half and given in (torch.float32, torch.bfloat16) else None


def _version(tensor: Tensor) -> int:
    """Changes with every change in place; tensors of inference mode cannot be changed."""
    return -1 if tensor.is_inference() else tensor._version


def _available() -> bool:
    built: Any = torch.backends.mkldnn.is_available
    known = platform.machine() in ("x86_64", "AMD64") and built()
    return known and hasattr(torch.ops.mkldnn, "_linear_pointwise")
