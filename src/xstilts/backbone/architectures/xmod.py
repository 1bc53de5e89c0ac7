"""X-MOD: XLM-R's blocks with an adapter of its own for each language (Pfeiffer et al., 2022).

arXiv:2205.06266. The language of a row stands in its first token: the number of the language behind
the last of the vocabulary, where other encoders have `<s>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xstilts.backbone.architectures import LanguageToken, post_norm
from xstilts.backbone.sites import EncoderLayout
from xstilts.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

MODEL_TYPES = ("xmod",)
NO_GRAPH = "which of its adapters run depends on the rows"
SMALL = {"model_type": "xmod", "languages": ["en_XX"], "default_language": "en_XX"}


def usual_settings(config: Any) -> Mapping[str, Any]:
    """As XLM-R's."""
    return post_norm.usual_settings(config)


def describe(config: Any) -> EncoderLayout:
    """The layout of an encoder of this family.

    Raises:
        UsageError: The config's default language has no adapter.
    """
    default = config.default_language
    if default is not None and default not in config.languages:
        raise UsageError(
            f"there is no adapter for the default language '{default}'",
            hint="It has " + ", ".join(config.languages) + ".",
        )
    plain = post_norm.describe(config)
    ends = dict(plain.sublayers)
    if config.adapter_layer_norm:
        ends["ffn"] = replace(ends["ffn"], norm="output.adapter_layer_norm")
    elif config.adapter_reuse_layer_norm:
        ends["ffn"] = replace(ends["ffn"], norm="output.LayerNorm")
    return replace(plain, sublayers=ends)


def language_token(config: Any, language: str) -> LanguageToken:
    """The number behind the vocabulary that stands for a language's adapter.

    Args:
        config: Of the encoder; its languages are such as `de_DE`, and its `default_language`, where
            it has one, serves those that have no adapter.
        language: Such as `de`.

    Raises:
        UsageError: There is no adapter for the language, and no default.
    """
    names, default = list(config.languages), config.default_language
    own = [name for name in names if language and name.partition("_")[0] == language]
    if not own and default is None:
        raise UsageError(
            f"this X-MOD has no adapter for language '{language}'",
            where="it has " + ", ".join(names),
            hint="A backbone's YAML may say `default_language: en_XX`, whose adapter then serves "
            "every language that has none.",
        )
    remark = "" if own else f"no adapter for language '{language}': rows pass that of {default}"
    return LanguageToken(config.vocab_size + names.index([*own, default][0]), remark)


def prepare(encoder: Any) -> None:
    """Let every adapter answer in the type that it was asked in.

    transformers 5 writes what they give into states in float32, which fails in bfloat16.
    """
    for name, part in encoder.named_modules():
        if name.rpartition(".")[0].endswith("adapter_modules"):
            part.register_forward_hook(_in_the_type_asked)


def _in_the_type_asked(part: Any, given: Sequence[Tensor], answer: Tensor) -> Tensor:
    del part
    return answer.to(given[0].dtype)


def inputs(encoder: Any, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Any]:
    """Ids and mask [B, T], and the number of each row's adapter [B].

    Rows that name no language have the default one, or the first where there is none.
    """
    config = encoder.config
    default = config.languages.index(config.default_language or config.languages[0])
    first = input_ids[:, 0]
    named = first >= config.vocab_size
    ids = input_ids.clone()
    ids[:, 0] = first.masked_fill(named, config.bos_token_id)
    languages = (first - config.vocab_size).masked_fill(~named, default)
    return {"input_ids": ids, "attention_mask": attention_mask, "lang_ids": languages}


def skipped(block: Any, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """The hidden state, alone or in a tuple, as the loop over the blocks expects it."""
    import transformers

    del block, named
    return (given[0],) if transformers.__version__.startswith("4.") else given[0]
