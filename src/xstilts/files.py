"""Writes that are whole or absent, and digests of what was written."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let a failed write say which file it was for; the system does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary name in the same folder.

    Raises:
        OSError: The disk is full or the folder is not writable; `path` keeps its old content.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary name that becomes `path` when the block ends well, and vanishes when not."""
    with _beside(path) as temporary:
        yield temporary
        _settle(temporary)
        temporary.replace(path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty file of its own beside `path`, gone at the end unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.chmod(0o644)
        with _naming(path):
            yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _settle(path: Path) -> None:
    """Wait until the disk has a file: its name must not be there before its content is."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8 text with `\n` line ends, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The `object_pairs_hook` of JSON in which every key stands once; the library keeps the last.

    Raises:
        ValueError: A key repeats.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(k for k in keys if keys.count(k) > 1)!r} repeats")
    return values


def json_text(value: Any) -> str:
    """Readable JSON with sorted keys and a final newline.

    Raises:
        ValueError: A number is NaN or infinite, which JSON has no word for; see `without_nan`.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)
    return text + "\n"


def without_nan(value: Any) -> Any:
    """A JSON-able value with null in place of every NaN and infinity, which JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, whole or not at all."""
    write_text(path, json_text(value))


def create_json(path: Path, value: Any) -> bool:
    """Write `value` as JSON unless `path` exists; of several writers at once exactly one succeeds.

    The file is whole when it appears: it is written beside and linked into place, which is atomic
    on network file systems too.
    """
    with _beside(path) as temporary:
        temporary.write_bytes(json_text(value).encode("utf-8"))
        _settle(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and vanishes when not.

    An existing `path` is replaced at the end, see `replace_folder`. Folders above it that were made
    for it vanish with it.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        temporary.chmod(0o755)
        with _naming(path):
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    _settle(file)
        replace_folder(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # another writer uses it
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A folder in the system's temporary one, for what is put together there; gone at the end.

    What a killed process left there goes first; see `left_behind`.
    """
    from filelock import FileLock

    area = Path(tempfile.gettempdir())
    for path in left_behind(area, "xstilts-*.lock"):
        remove(path)
    folder = area / f"xstilts-{purpose}-{uuid4().hex}"
    lock = Path(f"{folder}.lock")
    with FileLock(lock):
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            remove(folder)
            remove(lock)


def left_behind(area: Path, locks: str = "*.lock") -> list[Path]:
    """Folders whose writer was killed, each followed by its lock.

    A writer holds the lock beside its folder, so a lock that can be taken belongs to none.
    """
    from filelock import FileLock, Timeout

    gone = []
    for lock in area.glob(locks):
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):  # other people's are refused
            gone += [lock.with_suffix(""), lock]
    return gone


def remove(path: Path) -> None:
    """Delete a file or a folder, as far as that can be done."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def replace_folder(new: Path, path: Path) -> None:
    """Rename folder `new` to `path`, moving an existing `path` out of the way first.

    Readers see the old folder, for a moment none, and then the new one. Of several writers at once
    the last one stays.
    """
    away: list[Path] = []
    try:
        while True:
            try:
                new.rename(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                return
            away.append(Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old.")))
            with suppress(FileNotFoundError):  # another writer took it away
                path.rename(away[-1] / "folder")
    finally:
        for old in away:
            shutil.rmtree(old, ignore_errors=True)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a `.npy` file with the bytes of `numpy.save`, which hides why a write falls short."""
    import numpy as np

    flat = np.ascontiguousarray(array)
    with _naming(path), path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(flat)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(flat.tobytes() if flat.size == 0 else flat.data)


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, also behind links; a link that leads back up is not followed."""
    seen = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        there = Path(place).resolve()
        if there in seen:
            inner.clear()
            continue
        seen.add(there)
        yield from (path for name in names if (path := Path(place, name)).is_file())


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """The sha256 of a JSON-able value in canonical form, as 64 hex digits."""
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()
