"""Changes of an encoder's output at its sites, without a change of the encoder's class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from xstilts.backbone.sites import WHOLE, EncoderLayout, Site, SubLayer
from xstilts.errors import UsageError

WHOLE_KEY = Site(-2, WHOLE).key
"""The site of a module of another library, which wraps the whole encoder."""

Undo = Callable[[], None]


def hook(encoder: nn.Module, layout: EncoderLayout, site: Site, node: nn.Module) -> list[Undo]:
    """Let a node act at a site in a block.

    Args:
        encoder: The transformers model.
        layout: Where its sites are.
        site: Where. Of several, projections come before ends of sub-layers.
        node: What acts there, as `xstilts.backbone.sites` says.

    Returns:
        What takes it away again, to be called last first.

    Raises:
        UsageError: The encoder has no such site.
    """
    blocks = cast("nn.ModuleList", encoder.get_submodule(layout.blocks))
    if site.name not in (layout.linears if site.is_linear else layout.sublayers):
        raise UsageError(f"this backbone has no site '{site.name}'")
    block = blocks[site.block]
    if site.is_linear:
        return [_replace(block.get_submodule(layout.linears[site.name]), _linear_forward(node))]
    return _hook_sublayer(block, layout.sublayers[site.name], node)


def wrapped(nodes: Mapping[str, nn.Module], encoder: Any) -> Any:
    """The encoder as another library wrapped it."""
    if len(nodes) > 1:
        raise UsageError(
            "a module of another library acts alone",
            hint="Train only a head on it (--method head), or use a method of this library.",
        )
    node: Any = nodes[WHOLE_KEY]
    return node.wrapping(encoder)


def nth_input(given: Sequence[Any], named: Mapping[str, Any], number: int) -> Any:
    """An input of a module, in the order of the call, whether it was named or not."""
    return [*given, *named.values()][number]


def _replace(module: nn.Module, change: Callable[[Any], Any]) -> Undo:
    """Put what `change` makes of a module's `forward` in its place."""
    before = vars(module).get("forward")
    module.forward = change(module.forward)

    def undo() -> None:
        del module.forward
        if before is not None:
            module.forward = before

    return undo


def _linear_forward(node: nn.Module) -> Callable[[Any], Any]:
    def change(plain: Any) -> Any:
        def forward(x: Tensor) -> Tensor:
            update: Tensor = node(x)
            result: Tensor = plain(x) + update
            return result

        return forward

    return change


def _hook_sublayer(block: nn.Module, end: SubLayer, node: nn.Module) -> list[Undo]:
    norm = block.get_submodule(end.norm) if end.norm else None
    path, number = end.residual
    seen: list[Tensor] = []  # the residual, from when it is seen until the output is there

    def seeing(plain: Any) -> Any:
        def forward(*given: Any, **named: Any) -> Any:
            seen[:] = [nth_input(given, named, number)]
            return plain(*given, **named)

        return forward

    def changing(plain: Any) -> Any:
        def forward(*given: Any, **named: Any) -> Any:
            output = plain(*given, **named)
            if not seen:
                return output
            several = isinstance(output, tuple)
            hidden = output[0] if several else output
            hidden = hidden + node(hidden, seen.pop(), norm)
            return (hidden, *output[1:]) if several else hidden

        return forward

    # where one module is both, it sees its input before it gives its output
    changed = _replace(block.get_submodule(end.output), changing)
    return [changed, _replace(block.get_submodule(path), seeing)]
