"""Full fine-tuning: every weight of the encoder trains, and the whole encoder is the module.

The folder is an ordinary transformers model folder (config.json, model.safetensors).
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Generator

from xstilts.backbone import Backbone
from xstilts.files import write_json
from xstilts.methods import read_tensors
from xstilts.sites import Adapter, EncoderShape
from xstilts.specs import Spec

KIND = "full"
WEIGHTS, CONFIG = "model.safetensors", "config.json"


class Options(Spec):
    """Full fine-tuning has no options."""


def create(shape: EncoderShape, options: Options, generator: Generator) -> Adapter:
    """A module without parameters of its own; training fills in the encoder's weights."""
    del shape, generator
    return Adapter("full", options, {}, encoder_weights={})


def save(adapter: Adapter, folder: Path, name: str, backbone: Backbone) -> None:
    """Write the encoder as a transformers model folder."""
    del name
    weights = adapter.encoder_weights or {}
    save_file(
        {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    config = backbone.encoder.config.to_diff_dict()
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    write_json(folder / CONFIG, config | {"architectures": [type(backbone.encoder).__name__]})


def load(folder: Path, shape: EncoderShape) -> Adapter:
    """The encoder weights in a folder written by `save`."""
    del shape
    return Adapter("full", Options(), {}, encoder_weights=read_tensors(folder / WEIGHTS))
