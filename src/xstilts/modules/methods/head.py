"""Only a head trains, on the frozen encoder: the probe beside which modules are measured."""

from __future__ import annotations

from pathlib import Path

from torch import Generator

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import Adapter, EncoderShape
from xstilts.config.specs import Spec

KIND = "head"


class Options(Spec):
    """A head alone has no options."""


def create(shape: EncoderShape, options: Options, generator: Generator) -> Adapter:
    """A module that acts nowhere."""
    del shape, generator
    return Adapter("head", options, {})


def save(adapter: Adapter, folder: Path, name: str, backbone: Backbone) -> None:
    """Write nothing: the head is kept beside every module."""
    del adapter, folder, name, backbone


def load(folder: Path, shape: EncoderShape) -> Adapter:
    """A module that acts nowhere."""
    del folder
    return create(shape, Options(), Generator())
