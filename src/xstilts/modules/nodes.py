"""What acts at a site of the encoder, and what it may say of itself.

Methods and operators make nodes (`Method.create`, `SiteOperator.at_site`). A node may have
`penalty() -> Tensor` (see `Penalised`), `inverse` at the embeddings (`inverse_of`),
`weight_update() -> Tensor | None` at a projection (`weight_update_of`),
`two_layers() -> TwoLayers | None` at the end of a sub-layer (`two_layers_of`) and
`idle() -> bool` (`is_idle`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, cast, runtime_checkable

from torch import Tensor, nn

from xstilts.errors import UsageError

Reads = Literal["normed", "hidden", "residual"]
"""What a node sees at the end of a sub-layer; see `read`."""


def read(reads: Reads, hidden_BTD: Tensor, residual_BTD: Tensor, norm: nn.Module | None) -> Tensor:
    """What a node sees at the end of a sub-layer, [B, T, D].

    Args:
        reads: `normed` is the layer norm of the sub-layer's sum, `hidden` the sub-layer's output
            before the residual, `residual` its input.
        hidden_BTD: The sub-layer's output.
        residual_BTD: Its input.
        norm: Its layer norm; None where there is none.
    """
    if reads == "hidden":
        return hidden_BTD
    if reads == "residual":
        return residual_BTD
    added = hidden_BTD + residual_BTD
    return cast("Tensor", norm(added)) if norm is not None else added


class TwoLayers(NamedTuple):
    """A node that is `up(activation(down(x))) * scaling`, x being what it `reads`.

    An activation is known by its class: it has neither parameters nor settings.
    """

    reads: Reads
    down: nn.Linear
    activation: nn.Module
    up: nn.Linear
    scaling: float


def two_layers_of(node: nn.Module) -> TwoLayers | None:
    """The two layers that a node is now; None where it is something else, or does not say.

    Nodes that say it are computed together where a fusion has several.
    """
    own: Callable[[], TwoLayers | None] | None = getattr(node, "two_layers", None)
    return own() if own else None


def weight_update_of(node: nn.Module) -> Tensor | None:
    """The change of the projection's weight matrix that a node is, [out, in], float32.

    None where it is no such change, or does not say. What says it folds into exported encoders.
    """
    own: Callable[[], Tensor | None] | None = getattr(node, "weight_update", None)
    return own() if own else None


def is_idle(node: nn.Module) -> bool:
    """Whether a node says that its update is zero, whatever it reads: as many start."""
    own: Callable[[], bool] | None = getattr(node, "idle", None)
    return own() if own else False


@runtime_checkable
class Penalised(Protocol):
    """What acts at a site and adds to the loss while it trains."""

    def penalty(self) -> Tensor:
        """What is added to the loss: a scalar, float32; 0 where nothing of it trains."""
        ...


def inverse_of(node: object) -> Callable[[Tensor], Tensor]:
    """What takes a hidden state back through `node`, which acts at the embeddings.

    Raises:
        UsageError: It cannot be inverted.
    """
    inverse = getattr(node, "inverse", None)
    if inverse is None:
        raise UsageError(
            "a masked language model needs the inverse of what acts at the embeddings, and this "
            "combination has none",
            hint="Use one language adapter, or a stack of them.",
        )
    return cast("Callable[[Tensor], Tensor]", inverse)
