"""Architectures: what differs between the encoders that transformers has, and nothing else.

An architecture is one file of this package, or an entry point of the group
`xstilts.architectures`, that fulfils `Architecture`; `post_norm` is the shortest example. No other
file names a path inside a transformers model.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from xstilts.backbone.pooling import Pooling
from xstilts.backbone.sites import EncoderLayout
from xstilts.config.registry import Registry, optional
from xstilts.errors import UsageError

if TYPE_CHECKING:  # which types there are is known without torch
    from torch import Tensor, nn


class LanguageToken(NamedTuple):
    """How a row says its language to an encoder that has parts by language.

    Attributes:
        number: What stands in the place of the row's first token; `inputs` understands it.
        remark: What to tell whoever uses the language: that it is read as another one; or empty.
    """

    number: int
    remark: str = ""


class Architecture(Protocol):
    """What an implementation has; constants with a value and optional functions may be left out.

    Attributes:
        MODEL_TYPES: The `model_type` of every config that it describes.
        CAUSAL: Whether a token sees only those before it.
        SENTENCE: What heads over a whole text read: the first token, the mean of all, or the last.
        HEADS: Model type to what kind of head its task classes in transformers have: those of
            "bert" and "roberta" are ours under other names, of those of "linear" only the ones that
            are one projection. Nothing is exported into classes of others.
        ADAPTERS_CLASSES: Model type to the class that the adapters library has for it.
        NO_PREFIX: Model type to why prefix tuning of the adapters library is wrong there.
        SMALL: Settings of the small model that the sandbox has of it, `model_type` with them;
            sizes, vocabulary and special tokens are the sandbox's. Empty: the first model type.
        PLAIN_ATTENTION: Model types whose attention torch's fused one does not compute.
        NO_GRAPH: Why no single graph computes it, so that it is not exported to ONNX; or empty.
    """

    MODEL_TYPES: Sequence[str]
    CAUSAL: bool = False
    SENTENCE: Pooling = "cls"
    HEADS: Mapping[str, Literal["bert", "roberta", "linear"]] = MappingProxyType({})
    ADAPTERS_CLASSES: Mapping[str, str] = MappingProxyType({})
    NO_PREFIX: Mapping[str, str] = MappingProxyType({})
    SMALL: Mapping[str, Any] = MappingProxyType({})
    PLAIN_ATTENTION: Sequence[str] = ()
    NO_GRAPH: str = ""

    def describe(self, config: Any) -> EncoderLayout:
        """Where everything is in the encoder of a config, and how large it is.

        Raises:
            UsageError: The config asks for something that is not supported; says what.
        """
        ...

    @optional
    def model_class(self, config: Any) -> Any:
        """The transformers class of the encoder; that of `AutoModel` unless it says otherwise."""
        from transformers import MODEL_MAPPING

        return MODEL_MAPPING[type(config)]

    @optional
    def prepare(self, encoder: Any) -> None:
        """Mend what the library's own class computes only in float32, once, when it is loaded."""

    @optional
    def usual_settings(self, config: Any) -> Mapping[str, Any]:
        """Values of published checkpoints of this kind and size that are not the class's defaults.

        They decide which backbones are known by their weights alone
        (`xstilts.backbone.settings`); where the class does not know a name, the encoder reads it.
        """
        return {}

    @optional
    def inputs(self, encoder: Any, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Any]:
        """What the encoder is called with, for ids and a mask [B, T]; padding is on the right."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    @optional
    def language_token(self, config: Any, language: str) -> LanguageToken | None:
        """How rows of a language begin; None where those of all languages begin alike.

        Args:
            config: Of the encoder.
            language: Two-letter code; empty where nobody knows it.

        Raises:
            UsageError: The encoder cannot read the language.
        """
        return None

    @optional
    def skipped(self, block: nn.Module, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """What a block that does not run hands to the loop over the blocks.

        Args:
            block: The block.
            given: What the loop calls it with, the hidden state first.
            named: What the loop calls it with by name.

        Returns:
            The hidden state, which nothing reads, and what else the loop takes over from a block
            for the next ones, such as T5's position bias.
        """
        return (given[0],)


ARCHITECTURES = Registry[Architecture](
    "xstilts.backbone.architectures", "architecture", Architecture, "xstilts.architectures"
)


def model_types() -> tuple[str, ...]:
    """Every model type that some architecture describes, sorted."""
    return tuple(sorted(t for name in ARCHITECTURES for t in ARCHITECTURES.get(name).MODEL_TYPES))


def architecture_of(model_type: str) -> Architecture:
    """The architecture of a config's `model_type`.

    Raises:
        UsageError: There is none.
    """
    for name in ARCHITECTURES:
        architecture = ARCHITECTURES.get(name)
        if model_type in architecture.MODEL_TYPES:
            return architecture
    raise UsageError(
        f"no architecture has model type '{model_type}'",
        hint="Supported: " + ", ".join(model_types()) + ".",
    )


def class_options(model_class: Any) -> dict[str, Any]:
    """How an encoder of a class is made: without a pooler, its attention the fastest it has."""
    model_type = model_class.config_class.model_type
    plain = model_type in architecture_of(model_type).PLAIN_ATTENTION
    fused = getattr(model_class, "_supports_sdpa", False) and not plain
    options: dict[str, Any] = {"attn_implementation": "sdpa" if fused else "eager"}
    if "add_pooling_layer" in inspect.signature(model_class.__init__).parameters:
        options["add_pooling_layer"] = False
    return options
