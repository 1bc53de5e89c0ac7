"""Modular cross-lingual transfer: intermediate-task modules for XLM-R, composed and evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xstilts.api import Prediction, Predictor, load

    __version__: str

__all__ = ["Prediction", "Predictor", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used, so that `import xstilts` stays light."""
    if name == "__version__":
        from importlib.metadata import version

        return version("xstilts")
    if name in ("Prediction", "Predictor", "load"):
        from xstilts import api

        return getattr(api, name)
    raise AttributeError(f"module 'xstilts' has no attribute {name!r}")
