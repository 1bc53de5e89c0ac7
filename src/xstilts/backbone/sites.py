"""The named places of an encoder where a module can act.

A *linear* site is a projection `y = W x + b`; what sits there maps x [B, T, in] to an update of y
[B, T, out]. A *sublayer* site is the end of the attention or feed-forward sub-layer, where its
output is added to its input; what sits there maps (hidden, residual, norm) to an update of
`hidden`, all [B, T, D], before the sum. `norm` is what normalises the sum, None where nothing does.
The *embeddings* site is what the first block reads; what sits there is called as at a sublayer,
with the hidden state as its own residual and no norm. Everything at a site is therefore an update
that is added, so zero is the identity.

Site keys are `<block>_<name>`, such as `3_ffn`; the embeddings are `-1_embeddings`. Which sites an
encoder has, and where they are in it, its architecture says (`xstilts.backbone.architectures`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from xstilts.errors import UsageError

Linear: TypeAlias = Literal[
    "query",
    "key",
    "value",
    "qkv",
    "attention_output",
    "intermediate",
    "gate",
    "up",
    "gate_up",
    "output",
]
"""Names of linear sites. `qkv` is query, key and value in one projection. A gated feed-forward
sub-layer has `gate` (which the activation is of) and `up`, or both in one as `gate_up`, where a
plain one has `intermediate`."""

LINEARS: tuple[str, ...] = get_args(Linear)
SUBLAYERS = ("attention", "ffn")
EMBEDDINGS = "embeddings"
"""The site of what the first block reads; its block number is -1."""
WHOLE = "encoder"
"""The site of a module that another library runs: a wrapped encoder takes the place of the whole
one. Its block number is -2, and nothing else acts beside it."""

_INSTEAD: Mapping[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(("query", "key", "value"), (("qkv",),)),
    "qkv": (("query", "key", "value"),),
    "intermediate": (("gate", "up"), ("gate_up",)),
    **dict.fromkeys(("gate", "up"), (("gate_up",), ("intermediate",))),
    "gate_up": (("gate", "up"), ("intermediate",)),
}
"""Linear site to what stands for it in architectures that lack it."""


@dataclass(frozen=True, slots=True)
class SubLayer:
    """How an attention or feed-forward sub-layer ends; paths start at the block.

    Attributes:
        output: The module whose output, or its first, is what gets added to the residual.
        residual: The module that sees the residual, before `output` runs, and as which of its
            inputs, in the order in which they are given.
        norm: What normalises the sum; empty where nothing does.
        adapters_path: Where the adapters library keeps the bottlenecks of this sub-layer.
    """

    output: str
    residual: tuple[str, int]
    norm: str = ""
    adapters_path: str = ""


@dataclass(frozen=True, slots=True)
class EncoderLayout:
    """Where everything is in an encoder, and its sizes where configs differ in their names.

    Attributes:
        blocks: Path of the list of blocks.
        linears: Linear site to the path of its projection, from the block.
        sublayers: Sublayer site to how it ends.
        intermediate_size: Width of the feed-forward sub-layer.
        dropout: Of the attention.
        max_length: Longest input in sub-words, special tokens included.
        embeddings: Path of a module of output [B, T, D] that need not run where the first block's
            input is known; empty where there is none.
    """

    blocks: str
    linears: Mapping[str, str]
    sublayers: Mapping[str, SubLayer]
    intermediate_size: int
    dropout: float
    max_length: int
    embeddings: str = ""

    def path(self, site: Site) -> str:
        """Path of a linear site's projection, from the encoder."""
        return f"{self.blocks}.{site.block}.{self.linears[site.name]}"

    def site(self, path: str) -> Site | None:
        """The linear site of a projection's path, from the encoder or from a model around it."""
        found = re.fullmatch(rf"(?:\w+\.)?{re.escape(self.blocks)}\.(\d+)\.([\w.]+)", path)
        names = [name for name, inner in self.linears.items() if found and inner == found[2]]
        return Site(int(found[1]), names[0]) if found and names else None

    def has(self, names: Iterable[str]) -> list[str]:
        """The linear sites that this encoder has for the given ones, each once, in their order.

        Raises:
            UsageError: It has none for one of them.
        """
        found: dict[str, None] = {}
        for name in names:
            choices = ((name,), *_INSTEAD.get(name, ()))
            fits = next((c for c in choices if all(n in self.linears for n in c)), None)
            if fits is None:
                raise UsageError(
                    f"this backbone has no projection '{name}'",
                    hint=f"It has {', '.join(self.linears)}.",
                )
            found |= dict.fromkeys(fits)
        return list(found)


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The sizes that a new module needs.

    Attributes:
        layout: Where everything is in the encoder.
        encoder: The encoder itself.
    """

    num_layers: int
    hidden_size: int
    layout: EncoderLayout
    encoder: Any = field(compare=False, repr=False)

    @property
    def dropout(self) -> float:
        """Dropout probability of the attention, 0 to 1."""
        return self.layout.dropout

    def linear_sizes(self, name: str) -> tuple[int, int]:
        """(in, out) features of a linear site."""
        linear = self.encoder.get_submodule(self.layout.path(Site(0, name)))
        return int(linear.in_features), int(linear.out_features)


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One place: block number (0-based; -1 embeddings, -2 the whole encoder) and site name."""

    block: int
    name: str

    @property
    def key(self) -> str:
        """`<block>_<name>`, as in `3_query`: what `ModuleWeights.at` and saved tensors call it."""
        return f"{self.block}_{self.name}"

    @classmethod
    def of(cls, key: str) -> Site:
        """The site that a `key` names."""
        block, _, name = key.partition("_")
        return cls(int(block), name)

    @property
    def is_linear(self) -> bool:
        """Whether this is a projection rather than the end of a sub-layer."""
        return self.block >= 0 and self.name not in SUBLAYERS


ENTRY = Site(-1, EMBEDDINGS).key
"""The key of the site of what the first block reads."""
