"""A shared folder: a module library that others write to as well."""

from __future__ import annotations

import shutil
from pathlib import Path

from xstilts.errors import IntegrityError, NotFoundError, UsageError
from xstilts.zoo import Entry, Zoo, read_manifest
from xstilts.zoo.hubs import Address, PushOptions, RemoteRef
from xstilts.zoo.maintenance import copy_into
from xstilts.zoo.manifest import NAME, UNLISTED

SCHEMES = ("folder:",)
CACHES = False


def push(folder: Path, address: Address, options: PushOptions) -> RemoteRef:
    """Keep a copy in the library at the address, tagged as the options say."""
    zoo = Zoo(_path(address))
    entry = copy_into(zoo, folder)
    for tag in options.tags:
        zoo.tag(entry, tag)
    return _ref(entry)


def pull(address: Address, into: Path, *, offline: bool) -> RemoteRef:
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
    names = {record.path for record in found[0].manifest.files} | set(UNLISTED)
    for name in sorted(names):
        source = found[0].folder / name
        if source.is_symlink():
            raise IntegrityError(f"'{name}' is a link", where=str(found[0].folder))
        if source.is_file():
            shutil.copyfile(source, into / name)
    return _ref(found[0])


def exists(address: Address) -> bool:
    """Whether a module is at or below the address."""
    return bool(_entries(address))


def modules(address: Address) -> list[RemoteRef]:
    """The modules at or below the address; broken ones are left out."""
    return [_ref(entry) for entry in _entries(address)]


def _path(address: Address) -> Path:
    return Path(address.location).expanduser().absolute()


def _ref(entry: Entry) -> RemoteRef:
    return RemoteRef(f"folder:{entry.folder}", entry.manifest.digest)


def _entries(address: Address) -> list[Entry]:
    """The module that the folder is, or those of the library, name or preset that it is."""
    path = _path(address)
    if (path / NAME).exists():
        return [Entry(read_manifest(path), path)]
    found = []
    for depth in (3, 2, 1):
        for manifest in sorted(path.glob("/".join(["[!.]*"] * depth + [NAME]))):
            try:
                found.append(Entry(read_manifest(manifest.parent), manifest.parent))
            except IntegrityError:
                continue
    return found
