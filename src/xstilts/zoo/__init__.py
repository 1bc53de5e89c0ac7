"""The module library: folders with a manifest, found by reference, verified at every read."""

from __future__ import annotations

from xstilts.zoo.entry import Entry
from xstilts.zoo.manifest import Manifest, read_manifest, require_name, write_manifest
from xstilts.zoo.store import Zoo
from xstilts.zoo.verify import verify_folder

__all__ = [
    "Entry",
    "Manifest",
    "Zoo",
    "read_manifest",
    "require_name",
    "verify_folder",
    "write_manifest",
]
