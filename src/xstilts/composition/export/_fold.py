"""Weights of a plain encoder in which an expression is folded."""

from __future__ import annotations

from torch import Tensor

from xstilts.backbone.sites import Site
from xstilts.composition.export import Source
from xstilts.errors import UsageError
from xstilts.modules.nodes import weight_update_of


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
        update = weight_update_of(node) if site.is_linear else None
        if update is None:
            raise _not_foldable(source, site)
        weight = f"{source.backbone.layout.path(site)}.weight"
        state[weight] += update.detach().cpu().to(state[weight].dtype)
    return state


def _not_foldable(source: Source, site: Site) -> UsageError:
    return UsageError(
        f"'{source.loaded.expression}' cannot be folded: what acts at {site.key} is no change of a "
        "weight matrix",
        hint="Only LoRA and full fine-tuning fold; export adapters or onnx keeps the rest.",
    )
