"""Causal language models: each token sees those before it, and each sub-layer begins with a norm.

Llama, Qwen, Gemma, Mistral, BLOOM and XGLM without their output layer. What adds to the residual
sum is the sub-layer's last projection, in Gemma the norm behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xstilts.backbone.sites import EncoderLayout, SubLayer
from xstilts.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

_GEMMA = ("gemma2", "gemma3_text")
MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3", *_GEMMA, "bloom", "xglm")
CAUSAL, SENTENCE = True, "last"
PLAIN_ATTENTION = ("gemma2",)
NO_PREFIX = dict.fromkeys(MODEL_TYPES, "its prefixes reach no attention, so nothing is trained")

_LLAMA = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "output": "mlp.down_proj",
}
_BLOOM = {
    "qkv": "self_attention.query_key_value",
    "attention_output": "self_attention.dense",
    "intermediate": "mlp.dense_h_to_4h",
    "output": "mlp.dense_4h_to_h",
}
_XGLM = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.out_proj",
    "intermediate": "fc1",
    "output": "fc2",
}


def describe(config: Any) -> EncoderLayout:
    """The layout of a language model's blocks.

    Raises:
        UsageError: Attention of a Gemma that looks ahead, or BLOOM's sliced projections.
    """
    if getattr(config, "use_bidirectional_attention", False):
        raise UsageError("a Gemma whose attention looks ahead is not supported")
    if config.model_type == "bloom":
        if config.slow_but_exact and config.pretraining_tp > 1:
            raise UsageError("a BLOOM with slow_but_exact passes its projections by")
        ends = _ends(_BLOOM, "input_layernorm", "post_attention_layernorm")
        # Positions are relative: what is longer than in pretraining runs, but was never seen.
        longest = getattr(config, "seq_length", 2048)
        return _layout(
            config, "h", "word_embeddings", _BLOOM, ends, 4 * config.hidden_size, longest
        )
    longest = config.max_position_embeddings
    if config.model_type == "xglm":
        ends = _ends(_XGLM, "self_attn_layer_norm", "final_layer_norm")
        return _layout(config, "layers", "embed_tokens", _XGLM, ends, config.ffn_dim, longest)
    ends = _ends(_LLAMA, "input_layernorm", "post_attention_layernorm")
    if config.model_type in _GEMMA:
        ends = {
            "attention": SubLayer("post_attention_layernorm", ("input_layernorm", 0)),
            "ffn": SubLayer("post_feedforward_layernorm", ("pre_feedforward_layernorm", 0)),
        }
    width = config.intermediate_size
    return _layout(config, "layers", "embed_tokens", _LLAMA, ends, width, longest)


def _ends(linears: Mapping[str, str], attention: str, ffn: str) -> dict[str, SubLayer]:
    """Sub-layers that begin with the norms of these names and end with a projection."""
    return {
        "attention": SubLayer(linears["attention_output"], (attention, 0)),
        "ffn": SubLayer(linears["output"], (ffn, 0)),
    }


def _layout(
    config: Any,
    blocks: str,
    embeddings: str,
    linears: Mapping[str, str],
    sublayers: Mapping[str, SubLayer],
    intermediate_size: int,
    max_length: int,
) -> EncoderLayout:
    return EncoderLayout(
        blocks=blocks,
        embeddings=embeddings,
        linears=linears,
        sublayers=sublayers,
        intermediate_size=intermediate_size,
        dropout=float(config.attention_dropout),
        max_length=max_length,
    )


def inputs(encoder: Any, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Any]:
    """Ids and mask [B, T] with explicit positions, and nothing kept for a next token."""
    import torch

    given = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
    if encoder.config.model_type != "bloom":  # its positions follow from the mask
        given["position_ids"] = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
    return given


def skipped(block: nn.Module, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """The hidden state, alone or in a tuple, as the loop over the blocks expects it."""
    import transformers

    kind = type(block).__name__
    in_tuple = kind.startswith("Bloom") or (
        kind.startswith(("Gemma", "XGLM")) and transformers.__version__.startswith("4.")
    )
    return (given[0], None) if in_tuple else given[0]
