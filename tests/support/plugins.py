"""Packages of others, as pip leaves them."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """What pip leaves of a package: its metadata and its entry points."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
