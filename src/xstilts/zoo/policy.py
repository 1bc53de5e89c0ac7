"""What the config files of a module may say.

The libraries that own the formats act on their configs: some keys import a Python package, some
load remote code, some are regular expressions or paths. A module may hold none of these, and only
keys that are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xstilts.errors import IntegrityError
from xstilts.zoo.config_keys import (
    ADAPTERS_CONFIG,
    ADAPTERS_HEAD,
    ADAPTERS_OUTER,
    PEFT,
    TRANSFORMERS,
)
from xstilts.zoo.manifest import Manifest

_CODE = ("auto_map", "auto_mapping", "trust_remote_code", "tokenizer_kwargs", "custom_pipelines")
_CODE_START = ("megatron_", "loftq_", "_attn_implementation", "_target_", "__")
_PATH = re.compile(
    r"^(?:[/~\\]|\.\.?(?:[/\\]|$)|[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]*://)|\.\.[/\\]|\\"
)
_PLAIN = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
_PLAIN_LISTS = (
    "target_modules",
    "exclude_modules",
    "modules_to_save",
    "layers_pattern",
    "target_parameters",
    "feedforward_modules",
)
_PATTERNS = ("rank_pattern", "alpha_pattern")
_HARMLESS = {"megatron_core": "megatron.core", "loftq_config": {}}
"""What peft itself writes for options that are off."""


def check_config(name: str, values: Any, manifest: Manifest, where: Path | str) -> None:
    """Refuse what a config file of a module must not say.

    Args:
        name: The file's name; it decides which keys are known.
        values: Its parsed content.
        manifest: What the config must agree with.
        where: For messages.

    Raises:
        IntegrityError: A key is unknown or could run code, a value is a path or a pattern, or the
            config belongs to another backbone.
    """
    for problem in problems(name, values):
        raise _refusal(name, problem, where)
    if name in ("adapter_config.json", "head_config.json") and isinstance(values, dict):
        for problem in _other_backbone(values, manifest):
            raise _refusal(name, problem, where)


def problems(name: str, values: Any) -> Iterator[str]:
    """What is wrong with a config, one sentence each; the backbone is not looked at."""
    if not isinstance(values, dict):
        yield "it is no JSON object"
        return
    yield from _code(values)
    yield from _paths(values, "")
    yield from _unknown(name, values)
    yield from _patterns(values)


def _refusal(name: str, problem: str, where: Path | str) -> IntegrityError:
    return IntegrityError(
        f"{name} is refused: {problem}",
        where=str(where),
        hint="Ask the author for a module without it; docs/guides/sharing.md says why.",
    )


def _code(values: Any) -> Iterator[str]:
    """Keys that make a library import or run something, at any depth."""
    if isinstance(values, list):
        for item in values:
            yield from _code(item)
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        hook = key in _CODE or key.startswith(_CODE_START)
        if hook and value is not None and value != _HARMLESS.get(key, ...):
            yield f"key '{key}' could run code"
        yield from _code(value)


def _paths(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, str):
        if _PATH.search(value):
            yield f"'{place}' holds a path or an address"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, place)


def _unknown(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Keys that are not in the lists of `config_keys`."""
    known: frozenset[str] | None = None
    if name == "adapter_config.json" and "peft_type" in values:
        known = PEFT
    elif name in ("adapter_config.json", "adapter_fusion_config.json"):
        known = ADAPTERS_OUTER
        yield from _unknown_in(_parts(values.get("config")), ADAPTERS_CONFIG)
    elif name == "head_config.json":
        known = ADAPTERS_OUTER
        yield from _unknown_in([values.get("config")], ADAPTERS_HEAD)
    elif name == "config.json":
        known = TRANSFORMERS
    if known is not None:
        yield from _unknown_in([values], known)


def _parts(config: Any) -> list[Any]:
    """A config of the adapters library, or those of a union of several."""
    if isinstance(config, dict) and config.get("architecture") == "union":
        parts = config.get("configs")
        return parts if isinstance(parts, list) else [parts]
    return [config]


def _unknown_in(parts: list[Any], known: frozenset[str]) -> Iterator[str]:
    for part in parts:
        if not isinstance(part, dict):
            yield "its `config` is no JSON object"
        else:
            for key in sorted(part.keys() - known):
                yield f"key {key!a} is not known"


def _patterns(values: Mapping[str, Any]) -> Iterator[str]:
    """Module names must be plain: peft reads text here as a regular expression."""
    for key in _PLAIN_LISTS:
        value = values.get(key)
        plain = isinstance(value, list) and all(
            isinstance(item, str) and _PLAIN.fullmatch(item) for item in value
        )
        if value is not None and not plain:
            yield f"'{key}' is not a list of plain module names"
    for key in _PATTERNS:
        value = values.get(key)
        if value is not None and not (
            isinstance(value, dict) and all(_PLAIN.fullmatch(item) for item in value)
        ):
            yield f"'{key}' has a key that is no plain module name"


def _other_backbone(values: Mapping[str, Any], manifest: Manifest) -> Iterator[str]:
    backbone = manifest.backbone
    stated = {
        "hidden_size": backbone.hidden_size,
        "model_type": backbone.model_type,
        "model_name": backbone.repo,
        "base_model_name_or_path": backbone.repo,
    }
    for key, wanted in stated.items():
        value = values.get(key)
        if value not in (None, "", wanted):
            yield f"its {key} is {value!r}, but the manifest says {wanted!r}"
