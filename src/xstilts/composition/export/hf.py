"""A plain transformers model of the task's class, everything folded into its weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xstilts.backbone.architectures import class_options
from xstilts.composition.export import Source, difference, probe, reference
from xstilts.composition.export._fold import folded
from xstilts.composition.export._heads import class_name, label_options, transformers_head
from xstilts.composition.task_model import Head
from xstilts.config.specs import TaskSpec
from xstilts.errors import UsageError
from xstilts.tasks.formats import FORMATS

ABOUT = "A transformers model with its head: load it with the Auto class of its task."


def check(text: str, head: TaskSpec | None) -> None:
    """Refuse what has no head, or one without a transformers class."""
    if head is None:
        raise UsageError(f"'{text}' has no head", hint="Export the encoder alone: merged.")
    class_name(head)


def write(source: Source, folder: Path) -> float | None:
    """Write config.json, model.safetensors and the tokenizer; reloads and compares logits."""
    import transformers

    check(source.loaded.expression, source.head.task if source.head else None)
    assert source.head is not None
    model_class = getattr(transformers, class_name(source.head.task))
    config = plain_config(source, **label_options(source.head))
    attention = class_options(type(source.backbone.encoder))["attn_implementation"]
    model = model_class.from_config(config, attn_implementation=attention)
    fill(model, folded(source), transformers_head(source.head, source.backbone))
    model.save_pretrained(folder)
    source.backbone.tokenizer.save_pretrained(folder)
    again = model_class.from_pretrained(folder, attn_implementation=attention).eval()
    ids, mask = probe(source.backbone)
    return difference(logits_of(again, source.head, ids, mask), reference(source, ids, mask), mask)


def plain_config(source: Source, **options: Any) -> Any:
    """The backbone's config with other options, and without a local path."""
    config = copy.deepcopy(source.backbone.encoder.config)
    config._name_or_path = ""
    for key, value in options.items():
        if key != "num_labels":  # follows from id2label
            setattr(config, key, value)
    return config


def fill(model: Any, encoder: dict[str, Tensor], head: dict[str, Tensor]) -> None:
    """Give a transformers model its weights; every tensor but an unused pooler must be there."""
    prefix = model.base_model_prefix
    state = {f"{prefix}.{name}": tensor for name, tensor in encoder.items()} | head
    missing, unexpected = model.load_state_dict(state, strict=False)
    tied = ("lm_head.decoder.", "cls.predictions.decoder.", "position_ids", "token_type_ids")
    left = [name for name in missing if not any(part in name for part in tied)]
    assert not left, f"no value for {left[:3]}"
    assert not unexpected, f"no place for {unexpected[:3]}"
    if hasattr(model, "tie_weights"):
        model.tie_weights()


@torch.inference_mode()
def logits_of(model: Any, head: Head, ids: Tensor, mask: Tensor) -> Tensor:
    """What a plain transformers model says, in the shape of our head."""
    return FORMATS.get(head.task.format).transformers_logits(model, ids, mask)
