"""Weights of a plain encoder in which an expression is folded."""

from __future__ import annotations

from torch import Tensor, nn

from xstilts.backbone.sites import BLOCKS, LINEARS, Site
from xstilts.composition.export import Source
from xstilts.errors import UsageError
from xstilts.modules.methods.lora import LowRank
from xstilts.modules.operators.stack import SummedProjection


def folded(source: Source) -> dict[str, Tensor]:
    """The encoder's tensors with full fine-tuning in place and low-rank updates added.

    Raises:
        UsageError: Something acts that is no change of a weight matrix.
    """
    own = source.backbone.encoder.state_dict()
    state = {name: tensor.detach().cpu().clone() for name, tensor in own.items()}
    composed = source.loaded.composed
    for name, tensor in composed.encoder_weights.items():
        state[name] = tensor.detach().cpu().clone()
    for key, node in composed.nodes.items():
        site = Site.of(key)
        if not site.is_linear:
            raise _not_foldable(source, site)
        weight = f"{BLOCKS}.{site.block}.{LINEARS[site.name]}.weight"
        state[weight] += _update(source, site, node).cpu().to(state[weight].dtype)
    return state


def _update(source: Source, site: Site, node: nn.Module) -> Tensor:
    if isinstance(node, LowRank):
        return node.update().detach()
    if isinstance(node, SummedProjection):
        total = _update(source, site, node.parts[0])
        for part in list(node.parts)[1:]:
            total = total + _update(source, site, part)
        return total
    raise _not_foldable(source, site)


def _not_foldable(source: Source, site: Site) -> UsageError:
    return UsageError(
        f"'{source.loaded.expression}' cannot be folded: what acts at {site.key} is no change of a "
        "weight matrix",
        hint="Only LoRA and full fine-tuning fold; export adapters or onnx keeps the rest.",
    )
