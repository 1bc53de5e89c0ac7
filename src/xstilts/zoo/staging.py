"""How a library changes: under a lock, from a folder beside it, and back to it after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from xstilts.config.paths import require_writable
from xstilts.errors import UsageError
from xstilts.files import left_behind, remove

_ELSEWHERE = "Name another folder: --zoo DIR."


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the library's lock; it is let go when the process ends, however it ends.

    Raises:
        UsageError: A file is where the library would be, or above it, or it is read-only.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"no library can be at {root}: {(error.strerror or '').lower()}",
            hint="Name a folder, or one that can be made.",
        ) from None
    except OSError:
        require_writable(root, _ELSEWHERE)
        raise
    require_writable(root, _ELSEWHERE)
    with FileLock(root / ".lock"):
        yield


@contextmanager
def staging(root: Path) -> Iterator[Path]:
    """A folder to write in, which is gone afterwards; leftovers of killed writers go first."""
    area = root / ".staging"
    token = uuid4().hex
    mine = FileLock(area / f"{token}.lock")
    with locked(root):
        sweep(root)
        area.mkdir(exist_ok=True)
        mine.acquire()
        (area / token).mkdir()
    try:
        yield area / token
    finally:
        shutil.rmtree(area / token, ignore_errors=True)
        (area / f"{token}.lock").unlink(missing_ok=True)
        mine.release()


def discard(root: Path, folder: Path) -> Path:
    """Take a module folder out of the library in one rename; returns where it waits for deletion.

    The caller holds the library's lock.
    """
    gone = root / ".trash" / uuid4().hex
    gone.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(gone)
    return gone


def sweep(root: Path, *, dry_run: bool = False) -> list[Path]:
    """Delete what killed writers left; the caller holds the library's lock."""
    gone = [*root.glob(".trash/*"), *left_behind(root / ".staging")]
    for path in () if dry_run else gone:
        remove(path)
    return gone
