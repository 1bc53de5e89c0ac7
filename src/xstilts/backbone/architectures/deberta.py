"""DeBERTa-v2 and v3: post-norm sub-layers, and relative positions that every block is given.

Its attention knows no fused kernel, and it has no pooler. He et al., 2021, arXiv:2006.03654 and
2111.09543.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xstilts.backbone.sites import EncoderLayout, SubLayer

MODEL_TYPES = ("deberta-v2",)
SMALL = {
    "model_type": "deberta-v2",
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 32,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
}
HEADS = {"deberta-v2": "linear"}
ADAPTERS_CLASSES = {"deberta-v2": "DebertaV2AdapterModel"}
_ENDS = {"attention": "attention.output", "ffn": "output"}


def usual_settings(config: Any) -> Mapping[str, Any]:
    """Version 3's and its heads of 64 numbers; the class has other ones."""
    usual = {k: v for k, v in SMALL.items() if k not in ("model_type", "position_buckets")}
    heads = {"num_attention_heads": config.hidden_size // 64} if config.hidden_size >= 512 else {}
    return usual | heads


def describe(config: Any) -> EncoderLayout:
    """The layout of an encoder of this family."""
    return EncoderLayout(
        blocks="encoder.layer",
        embeddings="embeddings",
        linears={
            "query": "attention.self.query_proj",
            "key": "attention.self.key_proj",
            "value": "attention.self.value_proj",
            "attention_output": "attention.output.dense",
            "intermediate": "intermediate.dense",
            "output": "output.dense",
        },
        sublayers={
            name: SubLayer(f"{end}.dropout", (end, 1), f"{end}.LayerNorm", end)
            for name, end in _ENDS.items()
        },
        intermediate_size=config.intermediate_size,
        dropout=float(config.attention_probs_dropout_prob),
        max_length=int(config.max_position_embeddings),
    )


def skipped(block: Any, given: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, ...]:
    """The hidden state, and no attention weights."""
    del block, named
    return given[0], None
