"""The named places of an encoder where a module can act, per architecture.

A *linear* site is a projection `y = W x + b`; what sits there maps x [B, T, in] to an update of y
[B, T, out]. A *sublayer* site is the end of the attention or feed-forward sub-layer, where
`norm(hidden + residual)` is computed; what sits there maps (hidden, residual, norm) to an update of
`hidden`, all [B, T, D]. The *embeddings* site is the output of the embedding layer; what sits there
is called as at a sublayer, with the hidden state as its own residual and no norm. Everything at a
site is therefore an update that is added, so zero is the identity.

Site keys are `<block>_<name>`, such as `3_ffn`; the embeddings are `-1_embeddings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from xstilts.backbone.lazy_tensors import num_parameters
from xstilts.config.specs import Spec

LINEARS: Mapping[str, str] = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
"""Linear sites: name to the path of the projection inside a block."""

SUBLAYERS: Mapping[str, str] = {"attention": "attention.output", "ffn": "output"}
"""Sublayer sites: name to the path of the module that ends the sub-layer inside a block."""

EMBEDDINGS = "embeddings"
"""The site after the embedding layer, and the path of that layer; its block number is -1."""

WHOLE = "encoder"
"""The site of a module that another library runs: a wrapped encoder takes the place of the whole
one. Its block number is -2, and nothing else acts beside it."""

BLOCKS = "encoder.layer"
SUPPORTED = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl")
"""Model types with these names; XL has no norm and no dropout at the end of its sub-layers."""


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The sizes that a new module needs.

    Attributes:
        encoder: The encoder itself, for methods in which a library wraps it.
    """

    num_layers: int
    hidden_size: int
    intermediate_size: int
    dropout: float = 0.1
    encoder: Any = field(default=None, compare=False, repr=False)

    def linear_sizes(self, name: str) -> tuple[int, int]:
        """(in, out) features of a linear site."""
        if name == "intermediate":
            return self.hidden_size, self.intermediate_size
        if name == "output":
            return self.intermediate_size, self.hidden_size
        return self.hidden_size, self.hidden_size


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One place: block number (0-based; -1 embeddings, -2 the whole encoder) and site name."""

    block: int
    name: str

    @property
    def key(self) -> str:
        """`<block>_<name>`."""
        return f"{self.block}_{self.name}"

    @classmethod
    def of(cls, key: str) -> Site:
        """The site of a key."""
        block, _, name = key.partition("_")
        return cls(int(block), name)

    @property
    def is_linear(self) -> bool:
        """Whether this is a projection rather than the end of a sub-layer."""
        return self.name in LINEARS


class ModuleWeights(nn.Module):
    """The parameters of one module, by site; what `methods` make, save and load.

    Attributes:
        method: Name of the method that made it.
        options: The method's options.
        at: Site key to what acts there.
        encoder_weights: Encoder tensors that replace the backbone's own (full fine-tuning).
        base: The backbone's own, for what is computed from differences; only with those.
        error: Relative error of a merge that was cut to a rank; 0 where nothing was cut.
    """

    def __init__(
        self,
        method: str,
        options: Spec,
        at: Mapping[str, nn.Module],
        encoder_weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.method, self.options = method, options
        self.at = nn.ModuleDict(dict(at))
        self.encoder_weights = encoder_weights
        self.base: Mapping[str, Tensor] = {}
        self.error = 0.0

    def sites(self) -> Iterator[Site]:
        """The sites this module acts at, first block first."""
        yield from sorted(Site.of(key) for key in self.at)

    @property
    def num_parameters(self) -> int:
        """How many numbers it holds."""
        own = sum(parameter.numel() for parameter in self.parameters())
        return own + num_parameters(self.encoder_weights or {})
