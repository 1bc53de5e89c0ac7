"""Full fine-tuning: every weight of the encoder trains, and the whole encoder is the module.

The folder is an ordinary transformers model folder (config.json, model.safetensors). Asked for, it
holds what differs from the backbone instead, which is smaller and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from torch import Generator, Tensor, nn

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.lazy_tensors import FileWeights, write_weights
from xstilts.backbone.sites import EncoderShape
from xstilts.config.specs import Spec
from xstilts.files import write_json
from xstilts.modules.merging import Merge
from xstilts.modules.methods import _difference, require_same_keys
from xstilts.modules.methods._merged_encoder import MergedEncoder, merged_at_once
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.snippets import MethodCard

KIND = "full"
CARD = MethodCard(
    "A fine-tuned encoder",
    library="transformers",
    relation="finetune",
    imports=("from safetensors.torch import load_file",),
    code=(
        '{encoder}.load_state_dict(load_file(f"{{folder}}/model.safetensors"), strict=False)'
        "  # all but the pooler",
    ),
)
REPLACES_ENCODER = IS_UPDATE = DIFFERENCES = True
WEIGHTS, CONFIG = "model.safetensors", "config.json"


class Options(Spec):
    """Options of full fine-tuning.

    Attributes:
        stored: `whole`, or `difference`: only what differs from the backbone.
    """

    stored: Literal["whole", "difference"] = "whole"


def create(shape: EncoderShape, options: Options, generator: Generator) -> ModuleWeights:
    """A module without parameters of its own; training fills in the encoder's weights."""
    del shape, generator
    return ModuleWeights("full", options, {}, encoder_weights={})


def trainable_copy(
    adapter: ModuleWeights, base: Mapping[str, Tensor], backbone: Backbone
) -> ModuleWeights:
    """The module with encoder weights of its own, on the backbone's device, for training to change.

    Args:
        adapter: A new module, or one whose weights to start from.
        base: Encoder weights to start from where `adapter` has none; else the backbone's.
        backbone: It stays as it is.
    """
    start = adapter.encoder_weights or base
    weights = {
        name: start.get(name, own).to(backbone.device, copy=True)
        for name, own in _tensors(backbone.encoder).items()
    }
    return ModuleWeights("full", adapter.options, {}, encoder_weights=weights)


def save(adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
    """Write the encoder as a transformers model folder, or its difference from `adapter.base`."""
    del name
    weights = adapter.encoder_weights or {}
    if cast("Options", adapter.options).stored == "difference":
        base = adapter.base or _tensors(backbone.encoder)
        _difference.write(folder, weights, base)
        return
    write_weights(folder / WEIGHTS, weights)
    write_json(folder / CONFIG, transformers_config(backbone))


def transformers_config(backbone: Backbone) -> dict[str, Any]:
    """The encoder's config.json without keys that only mean something on this machine."""
    config = backbone.encoder.config.to_diff_dict()
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    return config | {"architectures": [type(backbone.encoder).__name__]}


def load(folder: Path, shape: EncoderShape) -> ModuleWeights:
    """The encoder in a folder written by `save`; its tensors are read when they are asked for.

    Raises:
        IntegrityError: A tensor is missing, left over, or of another shape than the backbone's.
    """
    base = _tensors(shape.encoder)
    if (folder / _difference.CONFIG).is_file():
        weights = _difference.read(folder, base)
        adapter = ModuleWeights("full", Options(stored="difference"), {}, encoder_weights=weights)
    else:
        found = FileWeights(folder / WEIGHTS)
        require_same_keys(found, base, folder / WEIGHTS)
        adapter = ModuleWeights("full", Options(), {}, encoder_weights=found)
    adapter.base = base
    return adapter


def merged(modules: Sequence[ModuleWeights], merge: Merge) -> ModuleWeights:
    """The encoder whose difference from the backbone is the merged one, computed when it is read.

    It is computed now where the merge draws at random.
    """
    first = modules[0]
    weights = (merged_at_once if merge.draws else MergedEncoder)(modules, merge)
    result = ModuleWeights("full", first.options, {}, weights)
    result.base = first.base
    return result


def _tensors(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in encoder.named_parameters()}
