"""Modular cross-lingual transfer: intermediate-task modules for XLM-R, composed and evaluated.

`Session` has the verbs; `xstilts.train(…)`, `xstilts.evaluate(…)` and so on are those of a default
session. Everything is imported when it is first used, so that `import xstilts` stays light.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xstilts.composition.predictor import Prediction, Predictor
    from xstilts.session import Session, load

    __version__: str

__all__ = ["Prediction", "Predictor", "Session", "__version__", "load"]

_ROOMS = ("train", "evaluate", "report")
"""Packages that have a verb's name."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("xstilts")
    if name in ("Prediction", "Predictor"):
        return getattr(import_module("xstilts.composition.predictor"), name)
    if name in _ROOMS:  # never the verb alone: what was imported first must not decide
        return import_module(f"{__name__}.{name}")
    if not name.startswith("_") and name != "session":
        own = import_module("xstilts.session")
        if name in ("Session", "load"):
            return getattr(own, name)
        if name in own.VERBS:
            return getattr(own.default_session(), name)
    raise AttributeError(f"module 'xstilts' has no attribute {name!r}")


def __dir__() -> list[str]:
    own = {name for name in globals() if name.startswith("__")}
    return sorted({*own, *__all__, *import_module("xstilts.session").VERBS})


class _CallableRoom(ModuleType):
    """A package that has a verb's name: `xstilts.train` is both."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        own = import_module("xstilts.session").default_session()
        return getattr(own, self.__name__.rpartition(".")[2])(*arguments, **options)


class _Package(ModuleType):
    """This package: the import system sets its subpackages as attributes, which hide the verbs."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and type(value) is ModuleType:
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
