"""Plug-in packages: the file name is the registration.

`Registry("xstilts.modules.methods", "method")` sees every module file of the package without
importing one; `get` imports it on first use. A new file needs no other edit.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cached_property
from types import ModuleType

from xstilts.errors import NotFoundError


class Registry:
    """The implementations that live as files in one package.

    Args:
        package: Dotted name of the package; its `__init__` states the contract.
        kind: What an implementation is called in messages, such as "method".
    """

    def __init__(self, package: str, kind: str) -> None:
        self.package, self.kind = package, kind

    @cached_property
    def _names(self) -> tuple[str, ...]:
        path = importlib.import_module(self.package).__path__
        found = (info.name for info in pkgutil.iter_modules(path))
        return tuple(sorted(name for name in found if not name.startswith("_")))

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def get(self, name: str) -> ModuleType:
        """The implementation called `name`.

        Raises:
            NotFoundError: There is none; the message shows the nearest names.
        """
        if name not in self._names:
            raise NotFoundError.named(self.kind, name, self._names)
        return importlib.import_module(f"{self.package}.{name}")
