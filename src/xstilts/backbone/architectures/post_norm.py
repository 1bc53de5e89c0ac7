"""BERT and its kin: each sub-layer ends with `norm(hidden + residual)`.

XLM-R XL, which has the same parts, normalises before a sub-layer instead of after it; DistilBERT
(Sanh et al., 2019, arXiv:1910.01108) has them under other names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xstilts.backbone.sites import EncoderLayout, SubLayer

_ROBERTA = ("camembert", "roberta", "xlm-roberta", "xlm-roberta-xl")
MODEL_TYPES = ("bert", "distilbert", "electra", *_ROBERTA)
HEADS = {"bert": "bert", "distilbert": "linear", "electra": "linear"} | dict.fromkeys(
    _ROBERTA, "roberta"
)
ADAPTERS_CLASSES = {
    "bert": "BertAdapterModel",
    "distilbert": "DistilBertAdapterModel",
    "electra": "ElectraAdapterModel",
    "roberta": "RobertaAdapterModel",
    "xlm-roberta": "XLMRobertaAdapterModel",
}
NO_PREFIX = {"distilbert": "with its prefixes a row depends on how far it is padded"}
SMALL = {"model_type": "xlm-roberta"}
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
    if config.model_type == "distilbert":
        return _distilbert(config)
    # X-MOD has these parts, too, and a switch for where its norms are.
    pre_norm = config.model_type == "xlm-roberta-xl" or getattr(config, "pre_norm", False)
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
    counted = config.model_type in (*_ROBERTA, "xmod")
    if counted and type(config.pad_token_id) is not int:
        raise TypeError(f"pad_token_id is {config.pad_token_id!r}")
    offset = config.pad_token_id + 1 if counted else 0
    projected = getattr(config, "embedding_size", config.hidden_size) != config.hidden_size
    return EncoderLayout(
        blocks="encoder.layer",
        embeddings="" if projected else "embeddings",
        linears=_LINEARS,
        sublayers=sublayers,
        intermediate_size=config.intermediate_size,
        dropout=float(config.attention_probs_dropout_prob),
        max_length=int(config.max_position_embeddings) - offset,
    )


def usual_settings(config: Any) -> Mapping[str, Any]:
    """RoBERTa's and XLM-R's base and large models were trained with another epsilon."""
    published = config.model_type in (*_ROBERTA, "xmod") and config.hidden_size in (768, 1024)
    return {"layer_norm_eps": 1e-5} if published else {}


def _distilbert(config: Any) -> EncoderLayout:
    ends = {"attention": "sa_layer_norm", "ffn": "output_layer_norm"}
    return EncoderLayout(
        blocks="transformer.layer",
        embeddings="embeddings",
        linears={
            "query": "attention.q_lin",
            "key": "attention.k_lin",
            "value": "attention.v_lin",
            "attention_output": "attention.out_lin",
            "intermediate": "ffn.lin1",
            "output": "ffn.lin2",
        },
        sublayers={
            name: SubLayer(name, (name, 0), norm, f"{path}_adapters")
            for (name, norm), path in zip(ends.items(), ("attention", "output"), strict=True)
        },
        intermediate_size=config.hidden_dim,
        dropout=float(config.attention_dropout),
        max_length=int(config.max_position_embeddings),
    )
