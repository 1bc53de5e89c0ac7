"""YAML to values: every problem at once, each with its place and a way out.

Layers are merged leaf by leaf, the later one wins, and each leaf remembers where it came from.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from xstilts.config.specs import Spec
from xstilts.errors import ConfigError, NotFoundError, Problem, UsageError, near_names

T = TypeVar("T", bound=Spec)
V = TypeVar("V")


@dataclass(frozen=True)
class Layer:
    """Settings from one origin, such as `--set`, `flag` or a file's path."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Resolved(Generic[V]):
    """A validated value, and for each dotted key the origin that set it."""

    value: V
    origins: Mapping[str, str]


# ------------------------------------------------------------------------------------- reading


class _Loader(yaml.BaseLoader):
    """Scalars stay text, except an unquoted `null`, `~` or nothing; repeated keys are errors."""


class _FastLoader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """The same by libyaml: ten times as fast, and it crashes where nesting has no end."""


_NULL = re.compile(r"^(?:~|null|)$")
_DEEP = 500
"""Columns of a line, or brackets, from which a text may be nested deeply."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for number, key in enumerate(keys):
        line = node.value[number][0].start_mark.line + 1
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, f"line {line}: a key is no text")
        if key in keys[:number]:
            raise yaml.constructor.ConstructorError(None, None, f"line {line}: key '{key}' repeats")
    return {
        key: loader.construct_object(value, deep=True)
        for key, (_, value) in zip(keys, node.value, strict=True)
    }


for _loader in (_Loader, _FastLoader):
    _loader.yaml_implicit_resolvers = {}
    _loader.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", ""])
    _loader.add_constructor("tag:yaml.org,2002:null", lambda loader, node: None)
    _loader.add_constructor("tag:yaml.org,2002:map", _mapping)


@lru_cache(512)
def _parsed(text: str) -> Any:
    """What a YAML text says; the files of tasks are asked for again and again."""
    flat = text.count("[") + text.count("{") < _DEEP and max(map(len, text.split("\n"))) < _DEEP
    loader = _FastLoader if flat else _Loader
    return yaml.load(text, Loader=loader)  # noqa: S506  (a subclass of BaseLoader: text only)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, scalars as text.

    Raises:
        NotFoundError: There is no such file.
        ConfigError: It cannot be read, is not YAML, not UTF-8, not a mapping, or repeats a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}", hint="Check the path.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [Problem("file", f"not UTF-8: {error.reason}")]) from None
    except OSError as error:
        raise ConfigError(str(path), [Problem("file", f"{error.strerror}")]) from None
    try:
        data = deepcopy(_parsed(text))
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(str(path), [Problem("file", _unreadable(error))]) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(str(path), [Problem("file", "expected a mapping of keys to values")])
    return data


def parse_overrides(
    pairs: Sequence[str], option: str = "--set", example: str = "--set train.lr=3e-4"
) -> dict[str, Any]:
    """`["train.lr=3e-4"]` to `{"train": {"lr": "3e-4"}}`; values are read as YAML text.

    Args:
        pairs: `key=value` texts.
        option: Of the command line, that errors name.
        example: What one may write.

    Raises:
        UsageError: A pair has no `=` or an empty key, its value is no YAML, or its key is inside
            one that an earlier pair gave a plain value.
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"{option} '{pair}' is not key=value", hint=f"Example: {example}")
        node = result
        *parents, leaf = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(
                    f"{option} '{pair}' sets a key of '{parent}', which has a plain value",
                    hint="Leave out the one or the other.",
                )
        try:
            node[leaf] = yaml.load(text, Loader=_Loader)  # noqa: S506
        except (yaml.YAMLError, RecursionError) as error:
            raise UsageError(f"{option} '{pair}' is {_unreadable(error)}") from None
    return result


def _unreadable(error: yaml.YAMLError | RecursionError) -> str:
    """What is wrong with a text that is no YAML."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"not valid YAML: {' '.join(str(error).split())}"


PLACES = ("backbone", "data", "include")
"""Keys of `xstilts.toml` that are no settings of a training: `place_setting` reads them."""


def place_setting(key: str, folder: Path, user_folder: Path) -> tuple[Any, Path | None]:
    """What the project's or else the user's `xstilts.toml` says of one of `PLACES`, and which."""
    for path in (folder / "xstilts.toml", user_folder / "xstilts.toml"):
        values = _read_toml(path)
        if key in values:
            return values[key], path
    return None, None


def settings_layers(folder: Path, user_folder: Path) -> list[Layer]:
    """The user's and the project's `xstilts.toml`, where they exist, weakest first."""
    layers = []
    for path in (user_folder / "xstilts.toml", folder / "xstilts.toml"):
        values = {key: value for key, value in _read_toml(path).items() if key not in PLACES}
        if values:
            layers.append(Layer(str(path), values))
    return layers


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [Problem("file", f"not valid TOML: {error}")]) from None


# ------------------------------------------------------------------------------------- merging


def resolve(spec: type[T], layers: Sequence[Layer]) -> Resolved[T]:
    """Merge layers, weakest first, and validate.

    Raises:
        ConfigError: One or more keys are unknown or hold the wrong kind of value; all are listed.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _merge(merged, layer.values, layer.origin, origins, "")
    try:
        value = spec.model_validate(merged)
    except ValidationError as error:
        named = layers[0].origin if len(layers) == 1 else ""
        raise ConfigError(*_problems(spec, error, origins, named)) from None
    return Resolved(value, {key: origins.get(key, "default") for key in _leaves(value, "")})


def _merge(
    into: dict[str, Any], values: Mapping[str, Any], origin: str, origins: dict[str, str], at: str
) -> None:
    for key, value in values.items():
        place = f"{at}{key}"
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value, origin, origins, f"{place}.")
        elif isinstance(value, Mapping):
            into[key] = {}
            _merge(into[key], value, origin, origins, f"{place}.")
            origins[place] = origin
        else:
            into[key] = value
            origins[place] = origin


def _leaves(value: BaseModel, at: str) -> Iterator[str]:
    for name in type(value).model_fields:
        field = getattr(value, name)
        if isinstance(field, BaseModel):
            yield from _leaves(field, f"{at}{name}.")
        else:
            yield f"{at}{name}"


def _problems(
    spec: type[BaseModel], error: ValidationError, origins: Mapping[str, str], named: str
) -> tuple[str, list[Problem]]:
    """What to say of an error; `named` is the origin of what has no other."""
    found = []
    used = set()
    for item in error.errors(include_url=False):
        place = _place(item["loc"])
        origin = origins.get(place) or origins.get(place.rsplit(".", 1)[0], named)
        used.add(origin)
        if item["type"] == "extra_forbidden":
            known = _fields_at(spec, item["loc"][:-1])
            found.append((origin, place, "unknown key.", near_names(str(item["loc"][-1]), known)))
        elif item["type"] == "missing":
            found.append((origin, place, "missing.", "Add this key."))
        elif item["type"] == "dict_type":
            got = f"has to hold keys with values (got {item['input']!r})."
            found.append((origin, place, got, ""))
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            found.append((origin, place, f"{message} (got {item['input']!r}).", ""))
    if len(used) == 1:
        return used.pop() or "settings", [Problem(p, m, h) for _, p, m, h in found]
    return "settings", [Problem(f"{o}: {p}" if o else p, m, h) for o, p, m, h in found]


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong with the values of a stored file, and where."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "string_pattern_mismatch":
        return f"{place}: {str(first['input'])[:60]!a} is not allowed"
    return f"{place}: {first['msg'].lower()}".removeprefix(": ")


def _place(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _fields_at(spec: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    current: Any = spec
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = current.model_fields[part].annotation if part in current.model_fields else None
        models = [a for a in (annotation, *get_args(annotation)) if _is_model(a)]
        if not models:
            return []
        current = models[0]
    return list(current.model_fields)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
