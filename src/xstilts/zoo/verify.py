"""Is a module folder what its manifest says, and safe to read?"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from xstilts.config.file_facts import FileFacts
from xstilts.errors import IntegrityError
from xstilts.zoo.manifest import (
    CARD,
    FILE_NAME,
    SCORES,
    SIGNATURE,
    UNLISTED,
    FileRecord,
    Manifest,
    read_manifest,
)
from xstilts.zoo.policy import check_config
from xstilts.zoo.shapes import check_shapes
from xstilts.zoo.strict_json import MAX_BYTES, read_json
from xstilts.zoo.tensors import read_header

T = TypeVar("T")

SUFFIXES = (".safetensors", ".json", ".md", ".txt", ".model")
"""File types that a module may hold; none of them can carry code."""

MAX_FILES = 64
MAX_TOTAL = 64 * 2**30
_AGAIN = "Remove the module and train or fetch it again."


def verify_folder(folder: Path) -> Manifest:
    """Check every byte and every config of a module folder; nothing is executed or unpickled.

    Returns:
        Its manifest.

    Raises:
        IntegrityError: A file is missing, changed, left over, of a refused type or name, a link, or
            holds something that no module may hold. The message names the file.
    """
    manifest = read_manifest(folder)
    check_file_list(manifest, folder)
    _check_folder(folder, {record.path for record in manifest.files})
    for record in manifest.files:
        check_file(folder / record.path, record)
    for record in manifest.files:
        if record.path.endswith(".json"):
            values = read_json(folder / record.path)
            check_config(record.path, values, manifest, folder)
    check_shapes(
        {
            record.path: read_header(folder / record.path)
            for record in manifest.files
            if record.path.endswith(".safetensors")
        },
        manifest,
        folder,
    )
    return manifest


def require_whole(folder: Path, cache: Path | None) -> None:
    """Check a module folder, unless it was found whole before and its files are the same ones.

    Args:
        folder: Of the module.
        cache: Keeps what was found; without one the folder is checked each time.

    Raises:
        IntegrityError: As `verify_folder`.
    """
    facts = FileFacts(cache, "modules", version("xstilts"), sorted(folder.iterdir()))
    if not facts.get():
        verify_folder(folder)
        facts.put(True)


def settled(folder: Path, read: Callable[[Path], T]) -> T | None:
    """What `read` makes of a module folder of a library that others change; None when it is gone.

    What was removed or replaced while it was read is read again.

    Raises:
        IntegrityError: As `read` does, of a folder that nobody touched meanwhile.
    """
    while (before := _state(folder)) is not None:
        try:
            return read(folder)
        except (IntegrityError, FileNotFoundError) as error:
            if _state(folder) != before:
                continue
            if isinstance(error, FileNotFoundError):
                raise IntegrityError("a file vanished", where=str(folder)) from None
            raise
    return None


def _state(folder: Path) -> tuple[int, ...] | None:
    """Changes when a folder is renamed, or gets or loses a file."""
    try:
        found = folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def check_file_list(manifest: Manifest, where: Path | str) -> None:
    """Refuse a manifest whose file list cannot be that of a module, before anything is fetched.

    Raises:
        IntegrityError: A name or type is refused, names repeat, or there is too much.
    """
    if len(manifest.files) > MAX_FILES:
        raise IntegrityError(
            f"the module has {len(manifest.files)} files, more than {MAX_FILES}", where=str(where)
        )
    seen: set[str] = set()
    for record in manifest.files:
        check_file_name(record.path, where)
        if record.path in UNLISTED or record.path.lower() in seen:
            raise IntegrityError(f"file name '{record.path}' is listed twice", where=str(where))
        if record.path.endswith(".json") and record.size > MAX_BYTES:
            raise IntegrityError(
                f"file '{record.path}' has {record.size} bytes, more than {MAX_BYTES}",
                where=str(where),
            )
        seen.add(record.path.lower())
    total = sum(record.size for record in manifest.files)
    if total > MAX_TOTAL:
        raise IntegrityError(f"the module has {total} bytes, too many", where=str(where))


def check_file_name(name: str, where: Path | str) -> None:
    """Refuse anything but a plain name of a type that carries no code.

    Raises:
        IntegrityError: The name is a path, hidden, not ASCII, or of another type.
    """
    if not FILE_NAME.fullmatch(name):
        raise IntegrityError(
            f"file name {name!a} is not allowed",
            where=str(where),
            hint="A module is a flat folder of plain ASCII file names.",
        )
    if not name.endswith(SUFFIXES):
        raise IntegrityError(
            f"file '{name}' is of a type that is not allowed",
            where=str(where),
            hint="Weights come as safetensors; `xstilts zoo import --from-pickle` converts.",
        )


def _check_folder(folder: Path, listed: set[str]) -> None:
    """Refuse files that are missing, left over, links or no files."""
    there = set()
    with os.scandir(folder) as items:
        for item in items:
            kind = item.stat(follow_symlinks=False).st_mode
            if not stat.S_ISREG(kind):
                what = "a link" if stat.S_ISLNK(kind) else "no regular file"
                raise IntegrityError(f"{item.name!a} is {what}", where=str(folder))
            there.add(item.name)
    for name in (CARD, SCORES, SIGNATURE):
        if name in there and (folder / name).lstat().st_size > MAX_BYTES:
            raise IntegrityError(f"file '{name}' is too large", where=str(folder))
    for name in sorted((there - set(UNLISTED)) ^ listed):
        what = "is missing" if name in listed else "is in no manifest"
        raise IntegrityError(f"file {name!a} {what}", where=str(folder), hint=_AGAIN)


def check_file(path: Path, record: FileRecord) -> None:
    """Compare a file with what was recorded of it.

    Raises:
        IntegrityError: Its size or its sha256 differs.
    """
    found = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while size <= record.size and (block := file.read(2**20)):
            size += len(block)
            found.update(block)
    if size != record.size or found.hexdigest() != record.sha256:
        raise IntegrityError(
            f"file '{record.path}' is not the one that was recorded",
            where=str(path.parent),
            hint=_AGAIN,
        )
