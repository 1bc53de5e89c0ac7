"""What a config says of an encoder's outputs that its weights do not show.

Two folders with the same tensors compute different things where one states another activation,
epsilon or number of attention heads. Nearly all checkpoints have the values that are usual for
their kind, so only the others are recorded: an encoder without any is known by its weights alone.
"""

from __future__ import annotations

import re
from typing import Any

from xstilts.backbone.architectures import architecture_of

_SEEN_IN_WEIGHTS = re.compile(
    r"(vocab|type_vocab|hidden|intermediate|embedding)_size|max_position_embeddings|dim|hidden_dim"
    r"|d_model|d_ff|d_kv|ffn_dim|num_heads|n_layers?|num_(hidden_|decoder_)?layers"
    r"|relative_attention_num_buckets|position_buckets|languages|adapter_reduction_factor"
)
"""Sizes of tensors, by any of the names that configs have for them; `num_heads` is T5's."""
_NO_EFFECT = re.compile(
    r"^_|drop|_token_id$|^(classifier|decoder|init|pooler|pretraining|repad|scale_decoder|sparse"
    r"|summary|tie|use_cache|legacy|deterministic|reference_compile|slow_but_exact)"
)
"""Names of values that change no hidden state of an encoder that is not in training."""


def unusual_settings(config: Any) -> dict[str, Any]:
    """The values that change outputs, show in no weight, and are not the usual ones of their kind.

    Usual is what the config's class has for an encoder of this size, or
    `Architecture.usual_settings`.
    """
    from transformers import PretrainedConfig

    values = config.to_dict()
    sizes = {k: v for k, v in values.items() if _SEEN_IN_WEIGHTS.fullmatch(k)}
    heads = type(config).attribute_map.get("num_attention_heads", "num_attention_heads")
    count = _usual_heads(config.hidden_size, getattr(type(config)(), heads))
    architecture = architecture_of(config.model_type)
    usual = type(config)(**{heads: count} | sizes).to_dict()
    _unite_rope(values)
    _unite_rope(usual)
    skipped = sizes.keys() | PretrainedConfig().to_dict().keys() - {"is_decoder"}
    names = {name for name in usual.keys() - skipped if not _NO_EFFECT.search(name)}
    if architecture.describe(config).max_length < getattr(config, "max_position_embeddings", 0):
        names.add("pad_token_id")  # positions are counted from it
    expected = usual | dict(architecture.usual_settings(config))
    names |= expected.keys() - usual.keys()
    found = {name: values.get(name) for name in sorted(names)}
    return {name: value for name, value in found.items() if value != expected.get(name)}


def _usual_heads(width: int, default: int) -> int:
    """Attention heads of an encoder of a width: its class's, of 64 numbers each, or small ones."""
    if width % default == 0 and width // default >= 32:
        return default
    return max(1, width // (64 if width >= 512 else 32))


def _unite_rope(values: dict[str, Any]) -> None:
    """Put what two major versions of transformers call the rotation's values under one name."""
    given = values.pop("rope_parameters", None)
    names = ("rope_theta", "global_rope_theta"), ("rope_local_base_freq", "local_rope_theta")
    theta, local = (next((values.pop(n) for n in pair if n in values), None) for pair in names)
    scaling = values.pop("rope_scaling", None) or {}
    if given is None and theta is not None:
        whole = {"rope_type": "default", **scaling, "rope_theta": theta}
        near = {"rope_type": "default", "rope_theta": local}
        given = whole if local is None else {"full_attention": whole, "sliding_attention": near}
    if given is not None:
        values["rope"] = {name: value for name, value in given.items() if name != "type"}
