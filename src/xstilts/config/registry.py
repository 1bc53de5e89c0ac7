"""Plug-ins: a file of a package, or an entry point of an installed one, is an implementation.

`Registry("xstilts.modules.methods", "method", Method, "xstilts.methods")` sees every file of the
package, and every entry point of the group, without importing one; `get` imports it on first use
and checks that it has what the contract states. A new file needs no other edit.

A contract is a `typing.Protocol` whose members an implementation (a module, or any object) has to
have. A constant with a value, and a function decorated with `optional`, may be left out: the
implementation then gets the contract's. Names that start with an underscore are no members.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MethodType
from typing import Any, Generic, TypeVar, cast, get_type_hints

from xstilts.errors import NotFoundError, UsageError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@cache
def _entry_points(path: tuple[str, ...]) -> Any:
    """Those of every package that is installed; to look through them all takes a while."""
    del path  # where packages are looked for
    return importlib.metadata.entry_points()


def optional(function: F) -> F:
    """Mark a function of a contract as one that implementations may leave out.

    Its body is what they get then; `self` is the implementation.
    """
    function.__dict__["_optional"] = True
    return function


@dataclass(frozen=True)
class Origin:
    """Where an implementation comes from.

    Attributes:
        package: Name of the installed distribution, such as `xstilts`.
        module: What is imported.
        entry: Its entry point; None for a file of the package itself.
        path: That file; None for an entry point.
    """

    package: str
    module: str
    entry: importlib.metadata.EntryPoint | None = None
    path: Path | None = None


class Registry(Generic[T]):
    """The implementations of one contract.

    Args:
        package: Dotted name of the package whose files they are; its `__init__` states what they
            have to have.
        kind: What an implementation is called in messages, such as "method".
        contract: The protocol, or several of which an implementation fulfils one; `T` is their
            type. Without one nothing is checked.
        group: The entry point group of other packages' implementations; empty for none.
    """

    def __init__(
        self, package: str, kind: str, contract: type | tuple[type, ...] = (), group: str = ""
    ) -> None:
        self.package, self.kind, self.group = package, kind, group
        self.contracts = contract if isinstance(contract, tuple) else (contract,)
        self._loaded: dict[str, T] = {}

    @cached_property
    def _origins(self) -> dict[str, Origin]:
        own = self.package.partition(".")[0]
        spec = importlib.util.find_spec(self.package)
        path = (spec and spec.submodule_search_locations) or ()
        found = {
            info.name: Origin(own, f"{self.package}.{info.name}", path=_path(info))
            for info in sorted(pkgutil.iter_modules(path))
            if not info.name.startswith("_")
        }
        for entry in _entry_points(tuple(sys.path)).select(group=self.group) if self.group else ():
            other = Origin(entry.dist.name if entry.dist else entry.module, entry.module, entry)
            if not _NAME.fullmatch(entry.name):
                raise UsageError(
                    f"{self.kind} {entry.name!r} of package '{other.package}' has no usable name",
                    hint="Names of entry points are lower-case letters, digits and _.",
                )
            if entry.name in found:
                packages = f"'{found[entry.name].package}' and '{other.package}'"
                raise UsageError(
                    f"two implementations of {self.kind} '{entry.name}': of packages {packages}",
                    where=f"entry points of group {self.group}",
                    hint=f"Uninstall one: pip uninstall {other.package}",
                )
            found[entry.name] = other
        return dict(sorted(found.items()))

    def names(self) -> tuple[str, ...]:
        """All names, sorted.

        Raises:
            UsageError: Two implementations have one name.
        """
        return tuple(self._origins)

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __contains__(self, name: object) -> bool:
        return name in self._origins

    def origin(self, name: str) -> Origin:
        """Where the implementation called `name` comes from; nothing is imported.

        Raises:
            NotFoundError: There is none; the message shows the nearest names.
        """
        if name not in self._origins:
            raise NotFoundError.named(self.kind, name, self._origins)
        return self._origins[name]

    def get(self, name: str) -> T:
        """The implementation called `name`.

        Raises:
            NotFoundError: There is none; the message shows the nearest names.
            UsageError: Another package's cannot be imported, or lacks what the contract states.
        """
        if name not in self._loaded:
            origin = self.origin(name)
            implementation = self._import(name, origin)
            missing = complete(implementation, self.contracts)
            if missing:
                raise UsageError(
                    f"{self.kind} '{name}' of package '{origin.package}' is incomplete: "
                    + "; ".join(missing),
                    where=origin.module,
                    hint=f"{self.package} states what a {self.kind} has to have.",
                )
            self._loaded[name] = cast("T", implementation)
        return self._loaded[name]

    def _import(self, name: str, origin: Origin) -> object:
        if origin.entry is None:
            return importlib.import_module(origin.module)
        try:
            return origin.entry.load()
        except Exception as error:
            raise UsageError(
                f"{self.kind} '{name}' of package '{origin.package}' cannot be imported: "
                f"{type(error).__name__}: {error}",
                where=origin.module,
                hint=f"Update or uninstall {origin.package}.",
            ) from error


def _path(info: pkgutil.ModuleInfo) -> Path | None:
    spec = info.module_finder.find_spec(info.name, None)
    return Path(spec.origin) if spec and spec.origin else None


def complete(implementation: object, contracts: Sequence[type]) -> list[str]:
    """Give an implementation the defaults of the first contract that it fulfils.

    Returns:
        Nothing, or where it fulfils none, what it lacks of the nearest, in words. Constants are
        checked for their type where it is a plain class, functions for whether they take the
        arguments that they will be given.
    """
    nearest: list[str] = []
    for contract in contracts:
        defaults, missing = _compared(implementation, contract)
        if not missing:
            for key, value in defaults.items():
                setattr(implementation, key, value)
            return []
        nearest = min((nearest or missing, missing), key=len)
    return nearest


def _compared(implementation: object, contract: type) -> tuple[dict[str, Any], list[str]]:
    """The defaults that an implementation lacks, and what it lacks without a default."""
    defaults: dict[str, Any] = {}
    missing: list[str] = []
    for key, kind in get_type_hints(contract).items():
        if not hasattr(implementation, key) and hasattr(contract, key):
            defaults[key] = getattr(contract, key)
        elif not hasattr(implementation, key):
            missing.append(f"it has no {key}")
        elif _is_plain(kind) and not isinstance(getattr(implementation, key), kind):
            missing.append(f"its {key} is no {kind.__name__}")
    for key, function in inspect.getmembers(contract, inspect.isfunction):
        if key.startswith("_"):
            continue
        if hasattr(implementation, key):
            missing += _unlike(getattr(implementation, key), function)
        elif getattr(function, "_optional", False):
            defaults[key] = MethodType(function, implementation)
        else:
            missing.append(f"it has no {key}{_shown(function)}")
    return defaults, missing


def _is_plain(kind: Any) -> bool:
    return isinstance(kind, type) and kind is not Any and not getattr(kind, "_is_protocol", False)


def _unlike(found: object, stated: Callable[..., Any]) -> list[str]:
    """What is wrong with a function in place of the contract's `stated`."""
    if not callable(found):
        return [f"its {stated.__name__} is no function"]
    arguments = list(inspect.signature(stated).parameters.values())[1:]
    named = {a.name: a for a in arguments if a.kind is a.KEYWORD_ONLY}
    try:
        inspect.signature(found).bind(*arguments[: len(arguments) - len(named)], **named)
    except TypeError:
        return [f"its {stated.__name__} does not take {_shown(stated)}"]
    return []


def _shown(function: Callable[..., Any]) -> str:
    return f"({', '.join(list(inspect.signature(function).parameters)[1:])})"
