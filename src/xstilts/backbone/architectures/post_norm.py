"""BERT and its kin: each sub-layer ends with `norm(hidden + residual)`.

XLM-R XL, which has the same parts, normalises before a sub-layer instead of after it.
"""

from __future__ import annotations

from typing import Any

from xstilts.backbone.sites import EncoderLayout, SubLayer

_ROBERTA = ("roberta", "xlm-roberta", "xlm-roberta-xl")
MODEL_TYPES = ("bert", *_ROBERTA)
HEADS = {"bert": "bert"} | dict.fromkeys(_ROBERTA, "roberta")
ADAPTERS_CLASSES = {"bert": "BertAdapterModel"} | dict.fromkeys(_ROBERTA, "XLMRobertaAdapterModel")
_LINEARS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
_ENDS = {"attention": "attention.output", "ffn": "output"}


def describe(config: Any) -> EncoderLayout:
    """The layout of an encoder of this family."""
    pre_norm = config.model_type == "xlm-roberta-xl"
    sublayers = {
        name: SubLayer(
            output=f"{end}.dense" if pre_norm and name == "ffn" else f"{end}.dropout",
            residual=(end, 1),
            norm="" if pre_norm else f"{end}.LayerNorm",
            adapters_path=end,
        )
        for name, end in _ENDS.items()
    }
    # RoBERTa counts positions from the one after the padding token's number.
    offset = 0 if config.model_type == "bert" else int(config.pad_token_id) + 1
    return EncoderLayout(
        blocks="encoder.layer",
        embeddings="embeddings",
        linears=_LINEARS,
        sublayers=sublayers,
        intermediate_size=config.intermediate_size,
        dropout=float(config.attention_probs_dropout_prob),
        max_length=int(config.max_position_embeddings) - offset,
    )
