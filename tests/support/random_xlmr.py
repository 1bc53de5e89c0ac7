"""An XLM-R of any size with random weights, in a folder as it would be on a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def write_random(folder: Path, tokenizer: Any, *, layers: int, hidden: int, heads: int = 4) -> Path:
    """Write config, weights and tokenizer into `folder`, which is returned.

    Args:
        tokenizer: See `support.tokenizers`; its size is that of the embeddings.
        hidden: Width; the feed-forward one is four times that.
    """
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    model = XLMRobertaModel(config, add_pooling_layer=False)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder
