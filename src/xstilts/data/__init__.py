"""Rows of tasks: sources, readers, checks, conversion, batching.

`xstilts.data.load` and `xstilts.data.convert` are imported when first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {"convert": "conversion", "load": "sources"}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"xstilts.data.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'xstilts.data' has no attribute '{name}'")
