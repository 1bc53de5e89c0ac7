"""A shared folder: a module library that others write to as well."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from xstilts.config.progress import ProgressFn
from xstilts.errors import IntegrityError, NotFoundError, UsageError
from xstilts.zoo import Entry, Manifest, Zoo, read_manifest
from xstilts.zoo.entry import full_name
from xstilts.zoo.hubs import Address, PushOptions, RemoteRef, Transfer, parse_address, tag_taken
from xstilts.zoo.index import INDEX
from xstilts.zoo.maintenance import copy_into, module_files
from xstilts.zoo.manifest import CARD, NAME

SCHEMES = ("folder:",)
CACHES = False
OPTIONS = ("tags",)
MANY = True


def push(folder: Path, address: Address, options: PushOptions, progress: ProgressFn) -> RemoteRef:
    """Keep a copy in the library at the address, tagged as the options say.

    Raises:
        UsageError: A tag means another module already, or the address is no library's.
    """
    path, tag = _place(address)
    if tag:
        raise UsageError(f"{address.text} names a tag", hint="Push to the library, with --tag.")
    zoo, manifest = Zoo(path), read_manifest(folder)
    tags = zoo.tags()
    own = manifest.digest
    taken = [name for name in options.tags if tags.get((manifest.name, name), own) != own]
    if taken:
        raise tag_taken(address.text, taken)
    progress(f"copying to {path}", 0.0)
    entry = copy_into(zoo, folder)
    for name in options.tags:
        zoo.tag(entry, name)
    return _ref(entry)


def pull(address: Address, into: Path, progress: ProgressFn, *, offline: bool) -> RemoteRef:
    """Copy the one module at or below the address."""
    del offline
    found = _entries(address)
    if not found:
        raise NotFoundError(f"no module at {address.text}", hint="Check the path.")
    if len(found) > 1:
        listed = "\n".join(f"  folder:{entry.folder}" for entry in found)
        raise UsageError(
            f"{address.text} holds {len(found)} modules", where=listed, hint="Name one of these."
        )
    files = module_files(found[0].folder)
    sizes = {name: source.stat().st_size for name, source in files.items()}
    transfer = Transfer("copying", sizes, progress)
    for name, source in files.items():
        with transfer.of(name):
            shutil.copyfile(source, into / name)
    return _ref(found[0])


def card(address: Address, manifest: Manifest) -> str:
    """The text of the card that the module has in the library at the address."""
    path = _place(address)[0] / full_name(manifest) / CARD
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def beside(address: Address, digest: str) -> Address | None:
    """Where the module with this digest is in the same library."""
    root = _library(_place(address)[0])
    found = [entry for entry in Zoo(root).entries() if entry.manifest.digest == digest]
    return parse_address(f"folder:{found[0].folder}") if found else None


def _place(address: Address) -> tuple[Path, str]:
    """The folder that an address means, and the tag after it, as in `zoo@v1` and `zoo/mnli:v1`.

    Raises:
        UsageError: It names none.
    """
    if not address.location:
        raise UsageError(f"'{address.text}' names no folder", hint="Write folder:PATH.")
    path = Path(address.location).expanduser().absolute()
    match = re.fullmatch(r"(.+)[@:]([^@:]+)", path.name)
    if path.exists() or match is None or not path.with_name(match[1]).exists():
        return path, ""
    return path.with_name(match[1]), match[2]


def _library(path: Path) -> Path:
    """The library that a folder is, or is in."""
    above = (path, *path.parents[:3])
    return next((folder for folder in above if (folder / INDEX).is_file()), path)


def _ref(entry: Entry) -> RemoteRef:
    return RemoteRef(f"folder:{entry.folder}", entry.manifest.digest)


def _entries(address: Address) -> list[Entry]:
    """The module that the folder is, or those of the library, name or preset that it is.

    Raises:
        NotFoundError: The address has a tag that none of them has.
    """
    path, tag = _place(address)
    if (path / NAME).exists():
        return [Entry(read_manifest(path), path)]
    found = []
    for depth in (3, 2, 1):
        for manifest in sorted(path.glob("/".join(["[!.]*"] * depth + [NAME]))):
            try:
                found.append(Entry(read_manifest(manifest.parent), manifest.parent))
            except IntegrityError:
                continue
    if not tag:
        return found
    known = Zoo(_library(path)).tags()
    tagged = [e for e in found if known.get((e.manifest.name, tag)) == e.manifest.digest]
    if not tagged:
        raise NotFoundError.named("tag", tag, {name for _, name in known})
    return tagged
