"""Random-weight models of the real shapes, and rows of real lengths, for comparisons."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.packed import unpack
from xstilts.backbone.pretrained import fingerprint
from xstilts.composition.compose import compose
from xstilts.composition.parser import parse
from xstilts.composition.task_model import Head, TaskModel
from xstilts.config.load import load_method, load_task
from xstilts.config.specs import BackboneIdentity
from xstilts.data.features import Features, Ragged
from xstilts.modules.methods import METHODS
from xstilts.modules.weights import ModuleWeights

VOCABULARY = 250_002
"""Words of XLM-R, for work that touches them; a small vocabulary is enough for the rest."""
SIZES: Mapping[str, Mapping[str, int]] = {
    "tiny": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4},
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
}
PAD = 1


def vocabulary(size: str) -> int:
    """XLM-R's number of words, or a small one for the size that only tries things out."""
    return 2000 if size == "tiny" else VOCABULARY


class PadTokenizer:
    """What batching needs of a tokenizer."""

    pad_token_id = PAD


def shape(size: str, vocab: int, **more: int) -> Any:
    """Transformers' configuration of an XLM-R of a size."""
    from transformers import XLMRobertaConfig

    numbers = SIZES[size]
    return XLMRobertaConfig(
        vocab_size=vocab,
        intermediate_size=4 * numbers["hidden_size"],
        max_position_embeddings=514,
        type_vocab_size=1,
        attn_implementation="sdpa",
        **numbers,
        **more,
    )


def encoder(size: str, vocab: int = 2000) -> Backbone:
    """A random XLM-R of a size; comparisons that do not touch the vocabulary use a small one."""
    from transformers import XLMRobertaModel

    torch.manual_seed(0)
    config = shape(size, vocab)
    model = XLMRobertaModel(config, add_pooling_layer=False).eval().requires_grad_(False)
    identity = BackboneIdentity(
        name=f"random-{size}",
        repo=f"random/{size}",
        model_type="xlm-roberta",
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        vocab_size=vocab,
        tokenizer_sha256="0" * 64,
        fingerprint=fingerprint(model),
    )
    layer = round(14 / 24 * config.num_hidden_layers)
    return Backbone(model, PadTokenizer(), identity, layer)


def plain(backbone: Backbone) -> Any:
    """A copy of the encoder as transformers made it, for what ours is compared with."""
    model = copy.deepcopy(backbone.encoder)
    unpack(model)
    return model


def rows(count: int, lengths: Sequence[int], longest: int, seed: int = 0) -> Features:
    """Random rows whose lengths follow quantiles at even distances, cut at `longest`."""
    draw = np.random.default_rng(seed)
    drawn = np.interp(draw.random(count), np.linspace(0, 1, len(lengths)), lengths)
    sizes = np.clip(drawn.astype(int), 4, longest)
    ids = Ragged.of([draw.integers(5, 1990, size).tolist() for size in sizes])
    label = np.arange(count, dtype=np.int64) % 3
    return Features(ids, np.arange(count), count, {}, {"label": label})


def padded(features: Features, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """All rows padded to one width, as run_xnli does by default: ids, mask, labels."""
    ids = torch.full((len(features), width), PAD)
    for number in range(len(features)):
        values = torch.as_tensor(np.asarray(features.input_ids[number]))
        ids[number, : len(values)] = values
    mask = (torch.arange(width)[None] < torch.as_tensor(features.lengths)[:, None]).long()
    return ids, mask, torch.as_tensor(features.scalars["label"])


def some(features: Features, numbers: np.ndarray) -> Features:
    """The rows with these numbers."""
    ids = Ragged.of([features.input_ids[int(n)] for n in numbers])
    count = len(numbers)
    return Features(ids, np.arange(count), count, {}, {"label": features.scalars["label"][numbers]})


def adapter(backbone: Backbone, preset: str, seed: int = 0, **values: object) -> ModuleWeights:
    """A module with random weights; `values` go over the preset's options."""
    spec = load_method(preset)
    method = METHODS.get(spec.method)
    options = method.Options.model_validate({**spec.options, **values})
    made: ModuleWeights = method.create(backbone.shape, options, Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.02, generator=Generator().manual_seed(seed))
    return made


def classifier(backbone: Backbone, module: ModuleWeights | None = None) -> TaskModel:
    """A model with an NLI head, over a module where one is given."""
    head = Head.new(load_task("xnli"), backbone, Generator().manual_seed(0))
    composed = None
    if module is not None:
        composed = compose(parse("m"), {"m": module}, backbone.shape, Generator())
    return TaskModel(backbone, composed, {"xnli": head})
