"""Rows of tasks: sources, readers, checks, conversion, batching.

`xstilts.data.load` and its companions are imported when first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "BitextPair": "pairs",
    "check_source_language": "sources",
    "list_data": "prepare",
    "load_rows": "sources",
    "shuffled_labels": "sources",
    "available_languages": "located",
    "convert": "conversion",
    "data_digest": "sources",
    "load": "sources",
    "load_pair": "pairs",
    "locate": "located",
    "subset": "sources",
    "task_in_world": "world",
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"xstilts.data.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'xstilts.data' has no attribute '{name}'")
