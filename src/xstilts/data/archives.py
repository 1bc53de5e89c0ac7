"""Archives unpacked safely: no path leaves the folder, no link, no bomb."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from xstilts.errors import IntegrityError

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_RATIO = 200
"""Text packs to a fifth or a tenth of its size; a bomb to a thousandth."""
FREE_BYTES = 16 * 2**20
"""An archive that unpacks to less than this is never called a bomb."""
MAX_BYTES = 64 * 2**30
MAX_FILES = 100_000
_CHUNK = 2**20


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of an archive."""
    return path.name.lower().endswith(ENDINGS)


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack into `folder` and return the files.

    Raises:
        IntegrityError: Not an archive, cut off, encrypted, or unsafe: a path that leaves the
            folder, a link or a device, or far more data than its size allows.
    """
    try:
        if archive.name.lower().endswith(".zip"):
            return _unzip(archive, folder)
        return _untar(archive, folder)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        lzma.LZMAError,
        zlib.error,
        NotImplementedError,
    ) as error:
        raise _refused(archive, f"not a whole archive: {error}") from None


def _unzip(archive: Path, folder: Path) -> list[Path]:
    with zipfile.ZipFile(archive) as file:
        members = [info for info in file.infolist() if not info.is_dir()]
        _check_total(archive, len(members), sum(info.file_size for info in members))
        written = []
        for info in members:
            if info.flag_bits & 1:
                raise _refused(archive, f"'{info.filename}' is encrypted")
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise _refused(archive, f"'{info.filename}' is a link")
            target = _target(archive, folder, info.filename)
            with file.open(info) as stream:
                _copy(archive, stream, target, info.file_size)
            written.append(target)
        return written


def _untar(archive: Path, folder: Path) -> list[Path]:
    with tarfile.open(archive) as file:
        written = []
        total = 0
        for number, member in enumerate(file, 1):
            if member.isdir():
                continue
            if not member.isfile():
                raise _refused(archive, f"'{member.name}' is a link or device")
            total += member.size
            _check_total(archive, number, total)
            target = _target(archive, folder, member.name)
            stream = file.extractfile(member)
            assert stream is not None
            with stream:
                _copy(archive, stream, target, member.size)
            written.append(target)
        return written


def _check_total(archive: Path, files: int, total: int) -> None:
    packed = max(archive.stat().st_size, 1)
    if files > MAX_FILES or total > MAX_BYTES:
        raise _refused(archive, f"it would unpack to {files} files and {total / 2**30:.1f} GiB")
    if total > FREE_BYTES and total / packed > MAX_RATIO:
        raise _refused(
            archive, f"it would unpack to {total / packed:.0f} times its size, like a zip bomb"
        )


def _target(archive: Path, folder: Path, name: str) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    unsafe = not parts or name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]
    if unsafe:
        raise _refused(archive, f"'{name}' leaves the folder")
    target = folder.joinpath(*parts)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise _refused(archive, f"'{name}' leaves the folder")
    return target


def _copy(archive: Path, stream: IO[bytes], target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("wb") as out:
        for chunk in _chunks(stream):
            written += len(chunk)
            if written > size:  # the size in the archive's index is a lie
                raise _refused(archive, f"'{target.name}' is larger than stated, like a zip bomb")
            out.write(chunk)
    if written < size:
        raise _refused(archive, f"'{target.name}' is cut off")


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _refused(archive: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"archive refused: {why}", where=str(archive), hint="Download it again from its source."
    )
