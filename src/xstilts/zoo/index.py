"""`index.json`: one row a module, derived from the folders, for people and for other tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xstilts.errors import IntegrityError
from xstilts.files import json_text, write_text
from xstilts.zoo.manifest import Manifest, read_manifest

INDEX = "index.json"
SCHEMA = "xstilts.index/1"


def row(manifest: Manifest) -> dict[str, Any]:
    """What the index says of a module."""
    return {
        "backbone": manifest.backbone.name,
        "digest": manifest.digest,
        "fingerprint": manifest.backbone.fingerprint,
        "kind": manifest.kind,
        "languages": manifest.languages,
        "license": manifest.license,
        "method": manifest.method,
        "name": manifest.name,
        "preset": manifest.preset,
        "seed": manifest.seed,
        "source_language": manifest.source_language,
        "task": manifest.task,
    }


def update_index(root: Path, folders: Sequence[Path]) -> None:
    """Make the index agree with the folders; only manifests that it lacks are read.

    The caller holds the library's lock.
    """
    known = _read(root)
    rows = {}
    for folder in folders:
        key = folder.relative_to(root).as_posix()
        if key in known:
            rows[key] = known[key]
            continue
        try:
            rows[key] = row(read_manifest(folder))
        except IntegrityError:
            continue
    if rows != known or not (root / INDEX).is_file():
        write_text(root / INDEX, json_text({"schema": SCHEMA, "modules": rows}))


def rebuild_index(root: Path, folders: Sequence[Path]) -> None:
    """Write the index anew from every manifest; the caller holds the library's lock."""
    (root / INDEX).unlink(missing_ok=True)
    update_index(root, folders)


def _read(root: Path) -> dict[str, Any]:
    """The rows of the index, or nothing when it is missing or not one."""
    try:
        value = json.loads((root / INDEX).read_text(encoding="utf-8"))
        rows = value["modules"] if value["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return rows if isinstance(rows, dict) else {}
