"""One module of a tuner of the peft library: trained, kept and run by peft.

Write `--method peft:<tuner>`, such as `peft:dora`; settings of the tuner's config go to
`options.settings`. The folder is peft's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import Field, field_validator
from safetensors.torch import save_file
from torch import Generator

from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import EncoderShape, Linear, Site
from xstilts.config.specs import Spec
from xstilts.errors import IntegrityError, UsageError, near_names
from xstilts.files import write_json
from xstilts.modules.methods import read_tensors, require_same_keys
from xstilts.modules.methods._external import (
    SITE,
    ExternalModule,
    encoder_of,
    plain_values,
    seeded,
    sharing,
)
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.snippets import MethodCard

KIND = "external"
CARD = MethodCard("A module")
EXTERNAL = True
LIBRARIES = ("peft",)
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True)
class Tuner:
    """How peft makes modules of one kind.

    Attributes:
        config: Name of its config class.
        settings: That differ from the class's defaults.
        targets: Projections that it acts at, unless others are asked for.
        changes_base: Whether making one changes the weights of those projections.
    """

    config: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[Linear, ...] = ("query", "value")
    changes_base: bool = False


TUNERS: Mapping[str, Tuner] = {
    "boft": Tuner("BOFTConfig"),
    "delora": Tuner("DeloraConfig"),
    "dora": Tuner("LoraConfig", {"use_dora": True}),
    "fourierft": Tuner("FourierFTConfig", {"init_weights": True}),
    "gralora": Tuner("GraloraConfig"),
    "hra": Tuner("HRAConfig"),
    "ia3": Tuner("IA3Config", targets=("key", "value", "output")),
    "loha": Tuner("LoHaConfig"),
    "lokr": Tuner("LoKrConfig"),
    "lora": Tuner("LoraConfig"),
    "lora_bias": Tuner("LoraConfig", {"lora_bias": True}),
    "oft": Tuner("OFTConfig"),
    "olora": Tuner("LoraConfig", {"init_lora_weights": "olora"}, changes_base=True),
    "pissa": Tuner("LoraConfig", {"init_lora_weights": "pissa"}, changes_base=True),
    "randlora": Tuner("RandLoraConfig"),
    "rslora": Tuner("LoraConfig", {"use_rslora": True}),
    "vera": Tuner("VeraConfig"),
    "waveft": Tuner("WaveFTConfig"),
}
"""Tuners that were tried on XLM-R; each starts as the identity, up to rounding."""

REFUSED: Mapping[str, str] = {
    "adalora": "it moves ranks between layers by a call after each step, which this loop lacks",
    "prefix_tuning": "peft adds its prefixes outside the encoder; use adapters:prefix_tuning",
    "prompt_tuning": "it makes inputs longer, so that heads read other tokens",
    "p_tuning": "it makes inputs longer, so that heads read other tokens",
}


class Options(Spec):
    """Options of a module of peft.

    Attributes:
        tuner: Which kind; see `TUNERS`.
        targets: Projections that it acts at, in every block; empty means the tuner's own.
        settings: Fields of the tuner's config class, such as `r`.
    """

    tuner: str
    targets: list[Linear] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("tuner")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in REFUSED:
            raise UsageError(f"peft:{value} is refused: {REFUSED[value]}")
        if value not in TUNERS:
            raise UsageError(f"no tuner 'peft:{value}'", hint=near_names(value, TUNERS))
        return value


_OF_ATTENTION = ("query", "key", "value", "qkv")
"""Projections whose output, not input, IA3 scales."""


def _config(options: Options, shape: EncoderShape) -> Any:
    import peft

    tuner = TUNERS[options.tuner]
    names = shape.layout.has(options.targets or tuner.targets)
    places = [Site(block, name) for block in range(shape.num_layers) for name in names]
    paths = [shape.layout.path(site) for site in places]
    values: dict[str, Any] = {**tuner.settings, **plain_values(options.settings)}
    if options.tuner == "ia3":
        inner = [shape.layout.path(site) for site in places if site.name not in _OF_ATTENTION]
        values.setdefault("feedforward_modules", inner)
    try:
        return getattr(peft, tuner.config)(
            **{"task_type": "FEATURE_EXTRACTION", "target_modules": paths, **values}
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"peft refuses the settings of {options.tuner}: {error}") from None


def _wrap(
    shape: EncoderShape, config: Any, generator: Generator, *, changes_base: bool
) -> ExternalModule:
    """Let peft put its layers into a copy of the encoder."""
    import peft

    encoder = encoder_of(shape)
    linears = tuple(f".{path}.weight" for path in shape.layout.linears.values())
    copied = sharing(encoder, lambda name: changes_base and name.endswith(linears))
    try:
        model = seeded(generator, lambda: peft.get_peft_model(copied, config))
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"peft cannot make this module: {error}") from None
    return ExternalModule(
        encoder, model.base_model.model, lambda: peft.get_peft_model_state_dict(model)
    )


def require_fit(shape: EncoderShape, options: Options) -> None:
    """Refuse what peft cannot make for this encoder; of what changes the base only settings."""
    if TUNERS[options.tuner].changes_base:  # which takes minutes to decompose
        _config(options, shape)
    else:
        create(shape, options, Generator().manual_seed(0))


def create(shape: EncoderShape, options: Options, generator: Generator) -> ModuleWeights:
    """A new module, drawn as peft draws it."""
    config = _config(options, shape)
    changes = TUNERS[options.tuner].changes_base
    node = _wrap(shape, config, generator, changes_base=changes)
    return ModuleWeights("external_peft", options, {SITE.key: node})


# --------------------------------------------------------------------------------- peft's format


def save(adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json` as peft does for the encoder."""
    del name
    identity, options = backbone.identity, cast("Options", adapter.options)
    node = cast("ExternalModule", adapter.at[SITE.key])
    tensors = {key: t.detach().cpu().clone().contiguous() for key, t in node.state.items()}
    save_file(tensors, folder / WEIGHTS)
    config = _config(options, backbone.shape).to_dict()
    config |= {
        "base_model_name_or_path": identity.repo,
        "revision": identity.revision or None,
        "inference_mode": True,
    }
    write_json(folder / CONFIG, {key: _plain(value) for key, value in config.items()})
    write_json(folder / "xstilts_options.json", options.model_dump())


def _plain(value: Any) -> Any:
    """A config value as JSON: sets as sorted lists, enums as their values."""
    if isinstance(value, set):
        return sorted(value)
    return getattr(value, "value", value)


def load(folder: Path, shape: EncoderShape) -> ModuleWeights:
    """The module in a folder written by `save`."""
    options = _read_options(folder)
    adapter = create(shape, options, Generator().manual_seed(0))
    node = cast("ExternalModule", adapter.at[SITE.key])
    found = read_tensors(folder / WEIGHTS)
    require_same_keys(found, node.state, folder)
    node.fill(found)
    return adapter


def _read_options(folder: Path) -> Options:
    path = folder / "xstilts_options.json"
    try:
        return Options.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path.name} is broken: {error}", where=str(folder)) from None
