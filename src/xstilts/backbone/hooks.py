"""Changes of an encoder's output at its sites, without a change of the encoder's class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from xstilts.backbone.sites import BLOCKS, EMBEDDINGS, LINEARS, SUBLAYERS, WHOLE, Site
from xstilts.errors import UsageError

WHOLE_KEY = Site(-2, WHOLE).key
"""The site of a module of another library, which wraps the whole encoder."""


def hook(encoder: Any, site: Site, node: nn.Module) -> nn.Module:
    """Let a node act at a site of an encoder until the `forward` of what is given back is deleted.

    Args:
        encoder: The transformers model.
        site: Where.
        node: What acts there, as `xstilts.backbone.sites` says.

    Returns:
        The encoder's own module whose output the node changes.

    Raises:
        UsageError: Something already acts there.
    """
    module = _module_at(encoder, site)
    if "forward" in vars(module):
        raise UsageError(f"a module already acts at block {site.block}, {site.name}")
    if site.name == EMBEDDINGS:
        module.forward = _embeddings_forward(module.forward, node)
    elif site.is_linear:
        module.forward = _linear_forward(cast("nn.Linear", module), node)
    else:
        module.forward = _sublayer_forward(module, node)
    return module


def _module_at(encoder: Any, site: Site) -> nn.Module:
    if site.name == EMBEDDINGS:
        return cast("nn.Module", encoder.get_submodule(EMBEDDINGS))
    path = LINEARS[site.name] if site.is_linear else SUBLAYERS[site.name]
    block: nn.Module = encoder.get_submodule(BLOCKS)[site.block]
    return block.get_submodule(path)


def wrapped(nodes: Mapping[str, nn.Module], encoder: Any) -> Any:
    """The encoder as another library wrapped it."""
    if len(nodes) > 1:
        raise UsageError(
            "a module of another library acts alone",
            hint="Train only a head on it (--method head), or use a method of this library.",
        )
    node: Any = nodes[WHOLE_KEY]
    return node.wrapping(encoder)


def _embeddings_forward(original: Any, node: nn.Module) -> Any:
    def forward(*arguments: Any, **named: Any) -> Tensor:
        hidden: Tensor = original(*arguments, **named)
        return hidden + node(hidden, hidden, None)

    return forward


def _linear_forward(linear: nn.Linear, node: nn.Module) -> Any:
    plain = linear.forward

    def forward(x: Tensor) -> Tensor:
        update: Tensor = node(x)
        return plain(x) + update

    return forward


def _sublayer_forward(end: Any, node: nn.Module) -> Any:
    norm = end.LayerNorm if hasattr(end, "LayerNorm") else None
    dropout = end.dropout if hasattr(end, "dropout") else nn.Identity()

    def forward(hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        hidden = dropout(end.dense(hidden_states))
        hidden = hidden + node(hidden, input_tensor, norm)
        added = hidden + input_tensor
        return norm(added) if norm is not None else added

    return forward
