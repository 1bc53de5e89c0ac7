"""One module of a configuration of the adapters library: trained, kept and run by that library.

Write `--method adapters:<config>`, such as `adapters:prefix_tuning`; settings of the configuration
go to `options.settings`. The folder is the library's own. It starts as the library starts it, which
is not always the identity (prefix tuning, ReFT).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from pydantic import Field, field_validator
from safetensors.torch import save_file
from torch import Generator, Tensor

from xstilts.backbone.architectures import architecture_of
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.sites import EncoderShape
from xstilts.config.specs import Spec
from xstilts.errors import IntegrityError, UsageError, near_names
from xstilts.files import write_json
from xstilts.modules.methods import bottleneck, read_tensors, require_same_keys
from xstilts.modules.methods._external import (
    SITE,
    ExternalModule,
    encoder_of,
    plain_values,
    seeded,
    sharing,
)
from xstilts.modules.weights import ModuleWeights
from xstilts.zoo.snippets import MethodCard, library_name

KIND = "external"
CARD = MethodCard("A module")
EXTERNAL = True
LIBRARIES = ("adapters",)

CONFIGS = (
    "compacter",
    "compacter++",
    "direft",
    "double_seq_bn",
    "double_seq_bn_inv",
    "ia3",
    "lora",
    "loreft",
    "mam",
    "noreft",
    "par_bn",
    "prefix_tuning",
    "prefix_tuning_flat",
    "scaled_par_bn",
    "seq_bn",
    "seq_bn_inv",
    "unipelt",
)
"""Configurations that were tried on XLM-R."""

REFUSED: Mapping[str, str] = {
    "dora": "the adapters library computes DoRA wrongly where alpha is not r or a projection has a "
    "bias, as XLM-R's have; use peft:dora",
    "dvora": "it is built on the library's DoRA, which is wrong; use peft:dora",
    "mtl_lora": "it needs task ids in every batch",
    "prompt_tuning": "it makes inputs longer, so that heads read other tokens",
    "vera": "the library trains the random projections that the method shares; use peft:vera",
}

_TOKEN = "xstiltsmodule"  # noqa: S105  (what the library calls the module inside)


class Options(Spec):
    """Options of a module of the adapters library.

    Attributes:
        config: Which configuration; see `CONFIGS`.
        settings: Fields of it that differ, such as `prefix_length`.
    """

    config: str
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("config")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in REFUSED:
            raise UsageError(f"adapters:{value} is refused: {REFUSED[value]}")
        if value not in CONFIGS:
            raise UsageError(
                f"no configuration 'adapters:{value}'", hint=near_names(value, CONFIGS)
            )
        return value


@contextmanager
def _library() -> Iterator[Any]:
    """The adapters library, without its remarks about modules that are not active yet."""
    try:
        import adapters
    except ImportError as error:
        raise UsageError(
            f"the adapters library cannot be used here: {error}",
            hint="It needs transformers 4.57: pip install adapters 'transformers<5'.",
        ) from None
    level = logging.getLogger("adapters").level
    logging.getLogger("adapters").setLevel(logging.ERROR)
    try:
        yield adapters
    finally:
        logging.getLogger("adapters").setLevel(level)


def _wrap(shape: EncoderShape, config: Any, generator: Generator) -> ExternalModule:
    """Let the library put its module into a copy of the encoder."""
    encoder = encoder_of(shape)
    with _library() as adapters:
        wrapped = sharing(encoder)
        try:
            adapters.init(wrapped)
            seeded(generator, lambda: wrapped.add_adapter(_TOKEN, config=config))
            wrapped.set_active_adapters(_TOKEN)
        except (AttributeError, AssertionError, TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"the adapters library cannot make this module: {error}") from None
    _require_same_encoder(encoder, wrapped)
    for parameter in encoder.parameters():  # the library's init may have changed this
        parameter.requires_grad_(False)
    return ExternalModule(encoder, wrapped, lambda: _state(wrapped))


def _require_same_encoder(encoder: Any, wrapped: Any) -> None:
    """Refuse an encoder to which the library adds what is no part of a module, or takes away.

    ModernBERT's fused projection has no bias, and the library gives it a random one; X-MOD loses
    the adapters of its languages.
    """
    own = {id(parameter): name for name, parameter in encoder.named_parameters()}
    there = {id(parameter): name for name, parameter in wrapped.named_parameters()}
    names = [name for key, name in there.items() if key not in own]
    added = [name for name in names if f".{_TOKEN}." not in f".{name}." and "prefix" not in name]
    lost = [name for key, name in own.items() if key not in there]
    changes = [*(f"adds {name}" for name in added), *(f"takes away {name}" for name in lost)]
    if changes:
        raise UsageError(
            f"the adapters library changes what this backbone itself computes: it {changes[0]}",
            hint="Use this library's own methods, or those of peft (--method peft:<tuner>).",
        )


def _state(wrapped: Any) -> dict[str, Tensor]:
    """The module's tensors by name; what several blocks share is there once."""
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in wrapped.state_dict(keep_vars=True).items():
        if f".{_TOKEN}." in f".{name}." and id(tensor) not in seen:
            seen.add(id(tensor))
            result[name] = tensor
    return result


def _library_config(options: Options) -> Any:
    with _library() as adapters:
        known = adapters.AdapterConfig.load(options.config).to_dict()
        for key in options.settings:  # the library takes any name and ignores it
            if key not in known:
                hint = near_names(key, known)
                raise UsageError(f"adapters:{options.config} has no setting '{key}'", hint=hint)
        try:
            config = adapters.AdapterConfig.load(options.config, **plain_values(options.settings))
        except (AttributeError, TypeError, ValueError) as error:
            raise UsageError(
                f"the adapters library refuses the settings of {options.config}: {error}"
            ) from None
    if _says(config.to_dict(), "use_dora", True):
        raise UsageError(f"adapters:{options.config} with DoRA is refused: {REFUSED['dora']}")
    return config


def _says(values: Any, key: str, value: Any) -> bool:
    """Whether a configuration, or one that it is made of, has a value."""
    if isinstance(values, Mapping):
        found = values.get(key) == value
        return found or any(_says(inner, key, value) for inner in values.values())
    return isinstance(values, list) and any(_says(inner, key, value) for inner in values)


def require_fit(shape: EncoderShape, options: Options) -> None:
    """Refuse what the library cannot make for this encoder."""
    create(shape, options, Generator().manual_seed(0))


def create(shape: EncoderShape, options: Options, generator: Generator) -> ModuleWeights:
    """A new module, drawn as the library draws it."""
    config, model_type = _library_config(options), shape.encoder.config.model_type
    why = architecture_of(model_type).NO_PREFIX.get(model_type, "")
    if why and _says(config.to_dict(), "architecture", "prefix_tuning"):
        raise UsageError(
            f"adapters:{options.config} is refused on a {model_type}: {why}",
            hint="Use a bottleneck (seq_bn) or --method peft:<tuner>.",
        )
    node = _wrap(shape, config, generator)
    return ModuleWeights("external_adapters", options, {SITE.key: node})


# ------------------------------------------------------------------------- the library's format


def save(adapter: ModuleWeights, folder: Path, name: str, backbone: Backbone) -> None:
    """Write `adapter.safetensors` and `adapter_config.json` as the adapters library does."""
    options = cast("Options", adapter.options)
    node = cast("ExternalModule", adapter.at[SITE.key])
    called = library_name(name)
    prefix = backbone.encoder.base_model_prefix
    tensors = {
        f"{prefix}.{key}".replace(f".{_TOKEN}.", f".{called}."): t.detach()
        .cpu()
        .clone()
        .contiguous()
        for key, t in node.state.items()
    }
    save_file(tensors, folder / bottleneck.WEIGHTS)
    outer = bottleneck.library_outer(_library_config(options).to_dict(), called, backbone)
    write_json(folder / bottleneck.CONFIG, outer)
    write_json(folder / "xstilts_options.json", options.model_dump())


def load(folder: Path, shape: EncoderShape) -> ModuleWeights:
    """The module in a folder written by `save`."""
    import json

    path = folder / "xstilts_options.json"
    try:
        options = Options.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path.name} is broken: {error}", where=str(folder)) from None
    _, name = bottleneck.read_config(folder)
    adapter = create(shape, options, Generator().manual_seed(0))
    node = cast("ExternalModule", adapter.at[SITE.key])
    prefix = shape.encoder.base_model_prefix
    keys = {k: f"{prefix}.{k}".replace(f".{_TOKEN}.", f".{name}.") for k in node.state}
    found = read_tensors(folder / bottleneck.WEIGHTS)
    require_same_keys(found, {keys[k]: t for k, t in node.state.items()}, folder)
    node.fill({key: found[theirs] for key, theirs in keys.items()})
    return adapter
