"""The module library: folders with a manifest, found by reference, verified at every read."""

from __future__ import annotations

from xstilts.zoo.manifest import Manifest, read_manifest, verify_folder, write_manifest
from xstilts.zoo.store import Entry, Zoo

__all__ = ["Entry", "Manifest", "Zoo", "read_manifest", "verify_folder", "write_manifest"]
