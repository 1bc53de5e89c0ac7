"""The encoder of T5, mT5 and umT5, without the decoder (Xue et al., 2021, arXiv:2010.11934).

Pre-norm with a norm after the last block. T5's first block has the table of relative positions
that all blocks add to their attention; umT5 has one in each block.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from xstilts.backbone.sites import EncoderLayout, SubLayer

MODEL_TYPES = ("t5", "mt5", "umt5")
SENTENCE = "mean"
ADAPTERS_CLASSES = {"t5": "T5AdapterModel", "mt5": "MT5AdapterModel"}
LONGEST = 1024
"""Longest input in pretraining; relative positions set no limit of their own."""
_ATTENTION, _FFN = "layer.0.SelfAttention", "layer.1.DenseReluDense"


def describe(config: Any) -> EncoderLayout:
    """The layout of an encoder of this family."""
    wide = {"gate": "wi_0", "up": "wi_1"} if config.is_gated_act else {"intermediate": "wi"}
    short = {"query": "q", "key": "k", "value": "v", "attention_output": "o"}
    return EncoderLayout(
        blocks="encoder.block",
        embeddings="encoder.embed_tokens",
        linears={name: f"{_ATTENTION}.{end}" for name, end in short.items()}
        | {name: f"{_FFN}.{end}" for name, end in (wide | {"output": "wo"}).items()},
        sublayers={
            "attention": SubLayer("layer.0.dropout", ("layer.0.layer_norm", 0), "", "layer.0"),
            "ffn": SubLayer("layer.1.dropout", ("layer.1.layer_norm", 0), "", "layer.1"),
        },
        intermediate_size=config.d_ff,
        dropout=float(config.dropout_rate),
        max_length=LONGEST,
    )


def model_class(config: Any) -> Any:
    """The class that reads only the encoder of a checkpoint."""
    import transformers

    names = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
    return getattr(transformers, names[config.model_type])


def skipped(block: Any, given: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, ...]:
    """The hidden state and the position bias, which the first block makes for all of them."""
    hidden, mask, bias = given[:3]
    attention = block.layer[0].SelfAttention
    shared = "position_bias" in inspect.signature(attention.forward).parameters
    if shared and bias is None:
        place = {key: value for key, value in named.items() if key == "cache_position"}
        bias = attention(hidden.new_zeros(hidden.shape), mask=mask, **place)[1]
    return hidden, bias, None
