"""Several data folders read as one: a folder of links, rebuilt from what is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.files import atomic_folder, digest

FIRST = ".first"
"""In a folder of links, one to the first of the data folders."""


def joined_folder(folders: Sequence[Path], cache: Path) -> Path:
    """A folder in which each file of `folders` has its path; the first one that has it wins.

    Args:
        folders: There, absolute.
        cache: Where the links are kept, under a digest of what they point at.
    """
    links = dict(_links(folders)) | {FIRST: folders[0]}
    target = cache / "data" / digest({path: str(to) for path, to in links.items()})[:16]
    if not target.is_dir():
        with atomic_folder(target) as new:
            for path, to in links.items():
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                (new / path).symlink_to(to)
    return target


def named_folder(folder: Path) -> Path:
    """What messages call a data folder: of several that are read as one, the first."""
    first = folder / FIRST
    return first.readlink() if first.is_symlink() else folder


def _links(folders: Sequence[Path], below: str = "") -> list[tuple[str, Path]]:
    """Path to what it points at; a folder that only one of `folders` has is one link."""
    names: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            names.setdefault(path.name, []).append(path)
    found = []
    for name, places in names.items():
        own = [place for place in places if place.is_dir()] if places[0].is_dir() else places[:1]
        if len(own) > 1:
            found += _links(own, f"{below}{name}/")
        else:
            found.append((below + name, own[0]))
    return found
