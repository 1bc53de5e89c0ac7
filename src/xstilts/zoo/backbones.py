"""Where the backbones of modules are: manifests know their names and fingerprints only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from xstilts.config import paths
from xstilts.errors import NotFoundError
from xstilts.files import write_json
from xstilts.zoo.entry import Entry


def known_backbones() -> dict[str, str]:
    """Fingerprint to folder, of the backbones that something was trained on.

    A damaged file counts as empty, which is said on stderr; the next training writes it anew.
    """
    path = paths.home_folder() / "backbones.json"
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(known, dict) or not all(isinstance(f, str) for f in known.values()):
            raise ValueError("it does not hold folders")
    except (OSError, ValueError) as error:
        print(f"passed over, {path.name} is damaged ({error}): {path}", file=sys.stderr)
        return {}
    return known


def remember_backbone(reference: str, fingerprint: str) -> None:
    """Keep where a backbone's folder is; what is no folder is found by its name."""
    folder, known = Path(reference).expanduser(), known_backbones()
    if folder.is_dir() and known.get(fingerprint) != str(folder.absolute()):
        known[fingerprint] = str(folder.absolute())
        write_json(paths.home_folder() / "backbones.json", known)


def locate_backbone(entry: Entry, folders: Iterable[Path]) -> str:
    """Reference of the backbone that a module was trained on.

    Args:
        entry: The module.
        folders: Where a folder of the backbone's name is looked for.

    Raises:
        NotFoundError: It is nowhere; every place is listed.
    """
    own = entry.manifest.backbone
    if own.on_hub:
        return f"{own.repo}@{own.revision}" if own.revision else own.repo
    known = known_backbones().get(own.fingerprint)
    places = [*([Path(known)] if known else []), *(folder / own.repo for folder in folders)]
    for place in dict.fromkeys(places):
        if (place / "config.json").is_file():
            return str(place)
    raise NotFoundError(
        f"{entry.reference} was trained on the backbone '{own.name}' "
        f"(fingerprint {own.fingerprint[:12]}), which is not at hand",
        where="looked for " + ", ".join(str(place) for place in dict.fromkeys(places)),
        hint='Name its folder: --backbone FOLDER, or backbone = "FOLDER" in xstilts.toml.',
    )
