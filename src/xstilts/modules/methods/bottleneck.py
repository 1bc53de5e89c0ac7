"""Bottleneck adapters, sequential and parallel, in the format of the `adapters` library.

Presets: `seq_bn` (Pfeiffer et al., 2021, arXiv:2005.00247), `double_seq_bn` (Houlsby et al., 2019,
arXiv:1902.00751), `par_bn` (He et al., 2022, arXiv:2110.04366).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field, ValidationError
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import SUBLAYERS, EncoderShape, Site
from xstilts.config.layers import first_problem
from xstilts.config.specs import Spec
from xstilts.errors import IntegrityError
from xstilts.files import write_json
from xstilts.modules.methods import Save, read_tensors, require_blocks, require_same_keys
from xstilts.modules.nodes import Reads, TwoLayers, read
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.snippets import MethodCard, library_name

KIND = "adapter"
CARD = MethodCard(
    "A bottleneck adapter",
    library="adapters",
    hub_library="adapter-transformers",
    imports=("import adapters",),
    code=(
        "adapters.init(model)",
        "model.load_adapter(folder, {load_as}use_safetensors=True, set_active=True)",
    ),
)
WEIGHTS, CONFIG = "adapter.safetensors", "adapter_config.json"

Activation = Literal["relu", "gelu", "swish", "tanh"]


class Options(Spec):
    """Options of a bottleneck adapter.

    Attributes:
        sites: Sub-layers that get one: `attention`, `ffn` or both.
        reads: What the down-projection sees, see `xstilts.modules.nodes.read`; `residual` is the
            parallel adapter.
        reduction_factor: Hidden size over bottleneck size.
        scaling: Factor of the update.
        dropout: On the update.
        leave_out: Blocks without one, 0-based.
    """

    sites: list[Literal["attention", "ffn"]] = Field(default=["ffn"], min_length=1)
    reads: Reads = "normed"
    reduction_factor: float = Field(default=16, gt=0)
    non_linearity: Activation = "relu"
    scaling: float = 1.0
    dropout: float = Field(default=0.0, ge=0, lt=1)
    leave_out: list[int] = Field(default_factory=list)


class Bottleneck(nn.Module):
    """`up(f(down(x))) * scaling`, an update of a sub-layer's output.

    Starts as the identity (`up` is zero), so attaching it never changes the backbone's output.
    Shapes: B sentences, T tokens, D hidden size, R = D // reduction_factor.
    """

    def __init__(self, hidden_size: int, options: Options) -> None:
        super().__init__()
        size = max(1, int(hidden_size // options.reduction_factor))
        self.down = nn.Linear(hidden_size, size)
        self.up = nn.Linear(size, hidden_size)
        self.activation = ACTIVATIONS[options.non_linearity]()
        self.dropout = nn.Dropout(options.dropout)
        self.reads: Reads = options.reads
        self.scaling = options.scaling

    def forward(self, hidden_BTD: Tensor, residual_BTD: Tensor, norm: nn.Module | None) -> Tensor:
        """The update of `hidden_BTD`, [B, T, D]."""
        x_BTD = read(self.reads, hidden_BTD, residual_BTD, norm)
        update: Tensor = self.up(self.activation(self.down(x_BTD))) * self.scaling
        return cast("Tensor", self.dropout(update))

    def idle(self) -> bool:
        """Whether `up` is zero."""
        return not (self.up.weight.any() or self.up.bias.any())

    def two_layers(self) -> TwoLayers | None:
        """Itself, while nothing is dropped."""
        if self.training and self.dropout.p:
            return None
        return TwoLayers(self.reads, self.down, self.activation, self.up, self.scaling)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


def create(shape: EncoderShape, options: Options, generator: Generator) -> ModuleWeights:
    """A new adapter in every block that is not left out."""
    modules = {}
    for block in range(shape.num_layers):
        for name in options.sites:
            if block not in options.leave_out:
                module = Bottleneck(shape.hidden_size, options)
                _initialise(module, generator)
                modules[Site(block, name).key] = module
    return ModuleWeights("bottleneck", options, modules)


def require_fit(shape: EncoderShape, options: Options) -> None:
    """Refuse to leave out a block that there is not."""
    require_blocks(options.leave_out, shape)


@torch.no_grad()
def _initialise(module: Bottleneck, generator: Generator) -> None:
    module.down.weight.normal_(0.0, 0.02, generator=generator)
    module.down.bias.zero_()
    module.up.weight.zero_()
    module.up.bias.zero_()


# ------------------------------------------------------------------------- the library's format

VERSION = "adapters.1.3.0"
_FIXED: dict[str, Any] = {
    "adapter_residual_before_ln": False,
    "cross_adapter": False,
    "factorized_phm_W": True,
    "factorized_phm_rule": False,
    "hypercomplex_nonlinearity": "glorot-uniform",
    "init_weights": "bert",
    "init_weights_seed": None,
    "inv_adapter": None,
    "inv_adapter_reduction_factor": None,
    "learn_phm": True,
    "ln_after": False,
    "ln_before": False,
    "original_ln_after": True,
    "phm_bias": True,
    "phm_c_init": "normal",
    "phm_dim": 4,
    "phm_init_range": 0.0001,
    "phm_layer": False,
    "phm_rank": 1,
    "residual_before_ln": True,
    "shared_W_phm": False,
    "shared_phm_rule": True,
    "stochastic_depth": 0.0,
    "use_gating": False,
}
"""Keys of the library's config whose value every adapter of this method has."""

_FREE = {"init_weights", "init_weights_seed"}
"""Keys that say nothing about a trained adapter."""


def library_config(options: Options) -> dict[str, Any]:
    """The `config` entry of the adapters library for these options."""
    return _FIXED | {
        "dropout": options.dropout,
        "is_parallel": options.reads == "residual",
        "leave_out": list(options.leave_out),
        "mh_adapter": "attention" in options.sites,
        "non_linearity": options.non_linearity,
        "original_ln_before": options.reads == "normed",
        "output_adapter": "ffn" in options.sites,
        "reduction_factor": options.reduction_factor,
        "scaling": options.scaling,
    }


KEYS = frozenset(library_config(Options()))
"""Keys of the library's config that `options_of` takes account of."""


def options_of(config: dict[str, Any], where: Path) -> Options:
    """The options behind a `config` entry of the adapters library.

    Raises:
        IntegrityError: The entry asks for something that this method does not compute.
    """
    for key, value in _FIXED.items():
        if key not in _FREE and config.get(key, value) != value:
            raise IntegrityError(
                f"option {key}={config[key]!r} is not supported",
                where=str(where),
                hint="Train one with --method adapters:<config>, which that library computes.",
            )
    names = (("attention", "mh_adapter"), ("ffn", "output_adapter"))
    parallel = config.get("is_parallel", False)
    normed = config.get("original_ln_before", False)
    try:
        return Options.model_validate(
            {
                "sites": [site for site, key in names if config[key]],
                "reads": "residual" if parallel else "normed" if normed else "hidden",
                "reduction_factor": config["reduction_factor"],
                "non_linearity": config["non_linearity"],
                "scaling": config.get("scaling", 1.0),
                "dropout": config.get("dropout", 0.0),
                "leave_out": config.get("leave_out", []),
            }
        )
    except (KeyError, ValidationError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else f"no {error}"
        raise IntegrityError(f"{CONFIG} is not supported: {why}", where=str(where)) from None


def library_stem(shape: EncoderShape, site: Site) -> str:
    """What the library's keys of a sub-layer site start with."""
    end = shape.layout.sublayers[site.name].adapters_path
    prefix = shape.encoder.base_model_prefix
    return f"{prefix}.{shape.layout.blocks}.{site.block}.{end}"


def library_keys(adapter: ModuleWeights, name: str, shape: EncoderShape) -> dict[str, str]:
    """Our parameter name to the library's key, for the sub-layer sites of an adapter."""
    keys = {}
    names = {"down": "adapter_down.0", "up": "adapter_up"}
    for site in adapter.sites():
        if site.name in SUBLAYERS:
            stem = f"{library_stem(shape, site)}.adapters.{name}."
            for ours, theirs in names.items():
                for kind in ("weight", "bias"):
                    keys[f"{site.key}.{ours}.{kind}"] = f"{stem}{theirs}.{kind}"
    return keys


def library_outer(config: Mapping[str, Any], name: str, backbone: Backbone) -> dict[str, Any]:
    """What the library writes around the `config` of a module or a head.

    Args:
        config: The library's `config` entry.
        name: What the library calls it.
        backbone: That it belongs to.
    """
    identity = backbone.identity
    classes = backbone.architecture.ADAPTERS_CLASSES
    return {
        "config": dict(config),
        "hidden_size": identity.hidden_size,
        "model_class": classes.get(identity.model_type, type(backbone.encoder).__name__),
        "model_name": identity.repo,
        "model_type": identity.model_type,
        "name": name,
        "version": VERSION,
    }


def write_folder(
    adapter: ModuleWeights,
    keys: Mapping[str, str],
    config: Mapping[str, Any],
    folder: Path,
    name: str,
    backbone: Backbone,
) -> None:
    """Write a folder of the adapters library.

    Args:
        adapter: Its parameters are written.
        keys: Our parameter name to the library's key.
        config: The library's `config` entry.
        folder: Exists.
        name: What the library calls the adapter.
        backbone: Named in the config.
    """
    state = adapter.at.state_dict()
    save_file({keys[k]: v.detach().cpu().contiguous() for k, v in state.items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, library_outer(config, name, backbone))


def read_config(folder: Path) -> tuple[dict[str, Any], str]:
    """The `config` entry and the adapter's name in a folder of the library.

    Raises:
        IntegrityError: The config is missing or broken.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        inner, name = config["config"], config["name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{CONFIG} is broken: {error}", where=str(folder)) from None
    if not isinstance(inner, dict):
        raise IntegrityError(f"{CONFIG} is broken: `config` is no object", where=str(folder))
    return inner, str(name)


def read_weights(adapter: ModuleWeights, keys: Mapping[str, str], folder: Path) -> ModuleWeights:
    """Fill an adapter from a folder of the library, no key missing and none left over."""
    found = read_tensors(folder / WEIGHTS)
    state = adapter.at.state_dict()
    require_same_keys(found, {keys[k]: v for k, v in state.items()}, folder)
    adapter.at.load_state_dict({k: found[keys[k]] for k in state})
    return adapter


def save(adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
    """Write `adapter.safetensors` and `adapter_config.json` as the adapters library does."""
    name = library_name(name)
    keys = library_keys(adapter, name, backbone.shape)
    config = library_config(cast("Options", adapter.options))
    write_folder(adapter, keys, config, folder, name, backbone)


def load(folder: Path, shape: EncoderShape) -> ModuleWeights:
    """The adapter in a folder written by `save` or by the adapters library."""
    config, name = read_config(folder)
    adapter = create(shape, options_of(config, folder), Generator())
    return read_weights(adapter, library_keys(adapter, name, shape), folder)


WRITERS: dict[str, Save] = {"adapters": save}
