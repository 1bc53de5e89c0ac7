"""Files of data: written by a test, or the real ones that are shared with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("XSTILTS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
"""Folder of real data; tests that need it are skipped where it is not."""

needs_shared = pytest.mark.skipif(
    not (SHARED / "tatoeba").is_dir(), reason=f"no shared real data at {SHARED}"
)


def write(root: Path, files: dict[str, str]) -> Path:
    """Write texts below `root`, which is returned."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
