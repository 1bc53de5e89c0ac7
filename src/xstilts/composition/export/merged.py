"""The encoder alone, everything folded into its weights: a backbone like any other."""

from __future__ import annotations

from pathlib import Path

import torch

from xstilts.backbone.architectures import class_options
from xstilts.composition.export import Source, difference, probe, reference
from xstilts.composition.export._fold import folded
from xstilts.composition.export.hf import plain_config
from xstilts.config.hub_models import quiet_libraries

ABOUT = "A plain encoder without a head: load it with AutoModel, or give it as --backbone."


def write(source: Source, folder: Path) -> float | None:
    """Write config.json, model.safetensors and the tokenizer; reloads and compares the output."""
    model_class = type(source.backbone.encoder)
    options = class_options(model_class)
    attention = options.pop("attn_implementation")
    model = model_class(plain_config(source), **options)
    model.load_state_dict(folded(source))
    model.save_pretrained(folder)
    source.backbone.tokenizer.save_pretrained(folder)
    with quiet_libraries():
        again = model_class.from_pretrained(folder, attn_implementation=attention, **options).eval()
    ids, mask = probe(source.backbone)
    with torch.inference_mode():
        given = source.backbone.architecture.inputs(again, ids, mask)
        found = again(**given).last_hidden_state
    return difference(found, hidden(source, ids, mask), mask)


def hidden(source: Source, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Our own last hidden state."""
    if source.head is None:
        return reference(source, ids, mask)
    device = source.backbone.device
    with torch.inference_mode(), source.model.attached():
        return source.backbone(ids.to(device), mask.to(device)).cpu()
