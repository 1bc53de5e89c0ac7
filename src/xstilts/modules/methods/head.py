"""Only a head trains, on the frozen encoder: the probe beside which modules are measured."""

from __future__ import annotations

from pathlib import Path

from torch import Generator

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import EncoderShape
from xstilts.config.specs import Spec
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.snippets import MethodCard

KIND = "head"
CARD = MethodCard(
    "A head on the frozen encoder",
    library="transformers",
    hub_library="xstilts",
    imports=("from safetensors.torch import load_file",),
)
ACTS = False


class Options(Spec):
    """A head alone has no options."""


def create(shape: EncoderShape, options: Options, generator: Generator) -> ModuleWeights:
    """A module that acts nowhere."""
    del shape, generator
    return ModuleWeights("head", options, {})


def save(adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
    """Write nothing: the head is kept beside every module."""
    del adapter, folder, name, backbone


def load(folder: Path, shape: EncoderShape) -> ModuleWeights:
    """A module that acts nowhere."""
    del folder
    return create(shape, Options(), Generator())
