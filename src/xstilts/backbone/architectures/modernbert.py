"""ModernBERT (Warner et al., 2024, arXiv:2412.13663), of which mmBERT is the multilingual one.

Pre-norm with a norm after the last block; query, key and value are one projection, and so are the
two of the gated feed-forward sub-layer. Blocks see the whole text or a window by turns.
"""

from __future__ import annotations

from typing import Any

from xstilts.backbone.sites import EncoderLayout, SubLayer

MODEL_TYPES = ("modernbert",)


def describe(config: Any) -> EncoderLayout:
    """The layout of an encoder of this family.

    What bottlenecks read is what they read in the adapters library: the residual is what the
    sub-layer itself reads, and after attention the norm is the one of the next sub-layer.
    """
    config.reference_compile = False  # else transformers 4.57 compiles parts by itself on a GPU
    return EncoderLayout(
        blocks="layers",
        embeddings="embeddings",
        linears={
            "qkv": "attn.Wqkv",
            "attention_output": "attn.Wo",
            "gate_up": "mlp.Wi",
            "output": "mlp.Wo",
        },
        sublayers={
            "attention": SubLayer("attn", ("attn", 0), "mlp_norm", "attention_adapters"),
            "ffn": SubLayer("mlp", ("mlp", 0), "", "output_adapters"),
        },
        intermediate_size=config.intermediate_size,
        dropout=float(config.attention_dropout),
        max_length=int(config.max_position_embeddings),
    )
