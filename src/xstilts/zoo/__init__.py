"""The module library: folders with a manifest, found by reference, verified at every read.

Its parts are imported when they are first used: what only asks for formats reads no module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xstilts.zoo.entry import Entry as Entry
    from xstilts.zoo.manifest import Manifest as Manifest
    from xstilts.zoo.manifest import read_manifest as read_manifest
    from xstilts.zoo.manifest import require_name as require_name
    from xstilts.zoo.manifest import write_manifest as write_manifest
    from xstilts.zoo.store import Zoo as Zoo
    from xstilts.zoo.verify import verify_folder as verify_folder

_PUBLIC = {
    "Entry": "entry",
    "Manifest": "manifest",
    "Zoo": "store",
    "read_manifest": "manifest",
    "require_name": "manifest",
    "verify_folder": "verify",
    "write_manifest": "manifest",
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
