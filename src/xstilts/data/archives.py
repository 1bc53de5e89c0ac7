"""Archives unpacked safely: no path leaves the folder, no link, no bomb."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from xstilts.errors import IntegrityError

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_RATIO = 200
"""Text packs to a fifth or a tenth of its size; a bomb to a thousandth."""
FREE_BYTES = 16 * 2**20
"""An archive that unpacks to less than this is never called a bomb."""
MAX_BYTES = 64 * 2**30
MAX_FILES = 100_000
_CHUNK = 2**20
_BLOCK = 512
_REMEMBERED = 2**16
"""Bytes, more than tarfile reads at a time."""
_LOCAL_HEADER, _LENGTHS_AT = b"PK\x03\x04", 26
"""What each file of a zip begins with, and where the lengths of its name and extra are."""
_PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""First bytes of a packed file to what opens it."""


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
        gzip.BadGzipFile,
        lzma.LZMAError,
        zlib.error,
        NotImplementedError,
    ) as error:
        raise _refused(archive, f"not a whole archive: {error}") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # bz2's own, and zip's seek to nowhere
            raise
        raise _refused(archive, f"not a whole archive: {error}") from None


def _unzip(archive: Path, folder: Path) -> list[Path]:
    with zipfile.ZipFile(archive) as file:
        _check_index(archive, file)
        members = [info for info in file.infolist() if not info.is_dir()]
        _check_total(archive, len(members), sum(info.file_size for info in members))
        written = []
        for info in members:
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise _refused(archive, f"'{info.filename}' is a link")
            target = _target(archive, folder, info.filename)
            with file.open(info) as stream:
                _copy(archive, stream, target, info.file_size)
            written.append(target)
        return written


def _check_index(archive: Path, file: zipfile.ZipFile) -> None:
    """Refuse a zip file whose index leaves out what stands in the file, or is another's.

    Python believes an index whose damaged length swallows further entries.
    """
    ends = 0
    with archive.open("rb") as raw:
        for info in sorted(file.infolist(), key=lambda info: info.header_offset):
            if _LOCAL_HEADER in _between(raw, ends, info.header_offset):
                raise _refused(archive, "its index leaves out a file")
            if info.flag_bits & 1:
                raise _refused(archive, f"'{info.filename}' is encrypted")
            with file.open(info) as stream:  # compares the names in both places
                if info.is_dir() and stream.read(1):
                    raise _refused(archive, f"'{info.filename}' is no folder")
            raw.seek(info.header_offset + _LENGTHS_AT)
            name, extra = struct.unpack("<HH", raw.read(4))
            ends = raw.tell() + name + extra + info.compress_size
        if _LOCAL_HEADER in _between(raw, ends, file.start_dir):
            raise _refused(archive, "its index leaves out a file")


def _between(raw: IO[bytes], start: int, end: int) -> bytes:
    raw.seek(start)
    return raw.read(min(max(end - start, 0), FREE_BYTES))


def _untar(archive: Path, folder: Path) -> list[Path]:
    with archive.open("rb") as file:
        first = file.read(8)
    opened = next((made for mark, made in _PACKED.items() if first.startswith(mark)), open)
    with opened(archive, "rb") as unpacked:
        stream: Any = _Stream(unpacked)  # all that reading one way needs of a file
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            written = _members(archive, tar, folder)
            stream.require_end(tar.offset)
        rest = 0
        while data := stream.read(_CHUNK):  # packed files have their checksums at the end
            rest += len(data)
            _check_total(archive, 0, rest)
    return written


class _Stream:
    """What a tar file is read from, which remembers the last that was read.

    Python's tarfile takes a header that is cut off or broken for the end, and stops at the end of
    the tar in a packed file, where the packing's own checksum has not been read yet.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._last, self._count = stream, b"", 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._last, self._count = (self._last + data)[-_REMEMBERED:], self._count + len(data)
        return data

    def require_end(self, offset: int) -> None:
        """Refuse a tar file whose next header, at `offset`, is not the empty one at its end."""
        start = offset - (self._count - len(self._last))
        block = self._last[start : start + _BLOCK]
        if len(block) < _BLOCK or any(block):
            raise tarfile.ReadError("it ends before its end mark, or is broken there")


def _members(archive: Path, file: tarfile.TarFile, folder: Path) -> list[Path]:
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
