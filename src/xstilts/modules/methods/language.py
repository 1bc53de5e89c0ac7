"""Language adapters (MAD-X, Pfeiffer et al., 2020, arXiv:2005.00052), in the adapters format.

Bottlenecks in the blocks and an invertible part after the embeddings. They are trained by masked
language modelling, where the head goes back through the inverse before the word embeddings (section
3.3 of the paper). Below a task adapter, only the way forward is used. Presets: `lang` (the sizes of
the paper), `seq_bn_inv` (those of the library).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import ENTRY, EncoderShape
from xstilts.errors import IntegrityError
from xstilts.modules.methods import Save, bottleneck
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.snippets import library_name

KIND = "language"
CARD = replace(bottleneck.CARD, noun="A language adapter", for_language=True)


class Options(bottleneck.Options):
    """Options of a language adapter: those of its bottlenecks, and of the invertible part.

    Attributes:
        invertible: `nice` couples two halves by addition (Dinh et al., 2015, arXiv:1410.8516).
        invertible_reduction_factor: Half the hidden size over the size inside each coupling.
    """

    reduction_factor: float = Field(default=2, gt=0)
    invertible: Literal["nice"] = "nice"
    invertible_reduction_factor: float = Field(default=2, gt=0)


class Coupling(nn.Module):
    """An invertible update of the embeddings: `y1 = x1 + F(x2)`, `y2 = x2 + G(y1)`.

    Starts as the identity (the last layers of F and G are zero). Shapes: B sentences, T tokens, D
    hidden size; x1 is the first D // 2 of the features, x2 the rest.
    """

    def __init__(self, hidden_size: int, options: Options) -> None:
        super().__init__()
        self.first = hidden_size // 2
        self.F = _network(hidden_size - self.first, self.first, options)
        self.G = _network(self.first, hidden_size - self.first, options)

    def forward(self, hidden_BTD: Tensor, residual_BTD: Tensor, norm: nn.Module | None) -> Tensor:
        """The update of `hidden_BTD`, [B, T, D]; the other arguments are those of every site."""
        del residual_BTD, norm
        x1, x2 = hidden_BTD[..., : self.first], hidden_BTD[..., self.first :]
        change1 = self.F(x2)
        return torch.cat((change1, self.G(x1 + change1)), dim=-1)

    def idle(self) -> bool:
        """Whether the last layers of F and G are zero."""
        outer = (parameter for network in (self.F, self.G) for parameter in network[2].parameters())
        return not any(parameter.any() for parameter in outer)

    def inverse(self, hidden: Tensor) -> Tensor:
        """What was there before the update, [..., D]."""
        y1, y2 = hidden[..., : self.first], hidden[..., self.first :]
        x2 = y2 - self.G(y1)
        return torch.cat((y1 - self.F(x2), x2), dim=-1)


def _network(inputs: int, outputs: int, options: Options) -> nn.Sequential:
    size = max(1, int(inputs // options.invertible_reduction_factor))
    activation = bottleneck.ACTIVATIONS[options.non_linearity]()
    return nn.Sequential(nn.Linear(inputs, size), activation, nn.Linear(size, outputs))


require_fit = bottleneck.require_fit


def create(shape: EncoderShape, options: Options, generator: Generator) -> ModuleWeights:
    """A new language adapter."""
    coupling = Coupling(shape.hidden_size, options)
    with torch.no_grad():
        for network in (coupling.F, coupling.G):
            inner, outer = cast("nn.Linear", network[0]), cast("nn.Linear", network[2])
            inner.weight.normal_(0.0, 0.02, generator=generator)
            for zero in (inner.bias, outer.weight, outer.bias):
                zero.zero_()
    blocks = bottleneck.create(shape, options, generator)
    return ModuleWeights("language", options, {ENTRY: coupling, **dict(blocks.at.items())})


# ------------------------------------------------------------------------- the library's format


def library_config(options: Options) -> dict[str, Any]:
    """The `config` entry of the adapters library for these options."""
    return bottleneck.library_config(options) | {
        "inv_adapter": options.invertible,
        "inv_adapter_reduction_factor": options.invertible_reduction_factor,
    }


def options_of(config: dict[str, Any], where: Path) -> Options:
    """The options behind a `config` entry of the adapters library.

    Raises:
        IntegrityError: There is no additive coupling, or something that is not supported.
    """
    if config.get("inv_adapter") != "nice":
        raise IntegrityError(
            f"inv_adapter={config.get('inv_adapter')!r} is not supported",
            where=str(where),
            hint="A language adapter has inv_adapter 'nice'; without one it is a bottleneck.",
        )
    rest = {k: v for k, v in config.items() if not k.startswith("inv_adapter")}
    plain = bottleneck.options_of(rest, where).model_dump()
    factor = config.get("inv_adapter_reduction_factor", 2)
    return Options.model_validate(plain | {"invertible_reduction_factor": factor})


def _library_keys(adapter: ModuleWeights, name: str, shape: EncoderShape) -> dict[str, str]:
    stem = f"{shape.encoder.base_model_prefix}.invertible_adapters.{name}."
    own = adapter.at[ENTRY].state_dict()
    keys = {f"{ENTRY}.{key}": stem + key for key in own}
    return keys | bottleneck.library_keys(adapter, name, shape)


def save(adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
    """Write `adapter.safetensors` and `adapter_config.json` as the adapters library does."""
    name = library_name(name)
    keys = _library_keys(adapter, name, backbone.shape)
    config = library_config(cast("Options", adapter.options))
    bottleneck.write_folder(adapter, keys, config, folder, name, backbone)


def load(folder: Path, shape: EncoderShape) -> ModuleWeights:
    """The adapter in a folder written by `save` or by the adapters library."""
    config, name = bottleneck.read_config(folder)
    adapter = create(shape, options_of(config, folder), Generator())
    return bottleneck.read_weights(adapter, _library_keys(adapter, name, shape), folder)


WRITERS: dict[str, Save] = {"adapters": save}
