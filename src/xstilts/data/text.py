"""Text files, read strictly: what is not the expected plain UTF-8 is an error with its row."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from xstilts.data.archives import FREE_BYTES, MAX_RATIO
from xstilts.errors import DataError, NotFoundError
from xstilts.files import unique_keys

Kind = TypeVar("Kind")

# A page begins with tags and nothing else; a row of data may begin with the word `<html>`.
_HTML = re.compile(
    r"\s*(?:<!doctype html(?:\s[^>]*)?>|<(?:html|head)(?:\s[^>]*)?>\s*(?:<[a-z!/]|\Z)"
    r"|<\?xml[^>]*>\s*<error[\s>])",
    re.IGNORECASE,
)
_HTML_END = re.compile(r"\s*<html[\s>].*</html>\s*", re.IGNORECASE | re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n\f\v]+")
_LINE_ENDS = re.compile(r"\r\n|\n|\r")
_END_NAMES = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}
_BOMS = {
    b"\xef\xbb\xbf": "UTF-8",
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
PACKED = (".gz", ".bz2")
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf": "7z",
}
_TABLES = {b"PAR1": "a parquet table not called .parquet", b"ARROW1\0\0": "an Arrow table"}
"""By what they begin with, and end with but for the padding."""


def place(path: Path, row: int) -> str:
    """Where a row is, for `Example.place`: file name and 1-based row."""
    return f"{path.name}:{row}"


def where(path: Path, row: int) -> str:
    """Where a row is, for messages: whole path and 1-based row."""
    return f"{path}:{row}"


def id_prefixes(paths: Sequence[Path]) -> list[str]:
    """What row ids of each file begin with, so that they stay unique: nothing for one file."""
    if len(paths) == 1:
        return [""]
    for name in (
        lambda path: path.stem,
        lambda path: f"{path.parent.name}/{path.stem}",
        lambda path: path.name,
    ):
        names = [name(path) for path in paths]
        if len(set(names)) == len(names):
            return [f"{text}-" for text in names]
    return [f"{number}-" for number in range(1, len(paths) + 1)]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; one called `.gz` or `.bz2` is unpacked.

    Raises:
        NotFoundError: There is no such file.
        DataError: It is empty, not UTF-8, has a byte order mark, or is a web page, an archive or a
            pointer file in place of the data.
    """
    try:
        data = _unpacked(path) if path.suffix in PACKED else path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFoundError("no such data file", where=str(path)) from None
    if not data.strip():
        raise DataError("the file is empty", where=str(path), hint="Download it again.")
    _refuse_binary(data, path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"not UTF-8: byte 0x{data[error.start]:02x}",
            where=where(path, row),
            hint="Convert the file to UTF-8; a file with mixed encodings must be downloaded again.",
        ) from None
    _refuse_other_kinds(text, path)
    return text


def _unpacked(path: Path) -> bytes:
    """What a packed file holds.

    Raises:
        DataError: It is not packed as its name says, cut off, or far larger than its size allows.
    """
    packed = path.read_bytes()
    most = max(FREE_BYTES, MAX_RATIO * len(packed))
    try:
        if path.suffix == ".gz":
            with gzip.open(io.BytesIO(packed)) as file:
                data = file.read(most + 1)
        else:
            data = _bunzipped(packed, most + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(
            f"not a whole {path.suffix} file: {error}", where=str(path), hint="Download it again."
        ) from None
    if len(data) > most:
        raise DataError(
            f"it unpacks to more than {MAX_RATIO} times its size, like a bomb",
            where=str(path),
            hint="Download it again from its source.",
        )
    return data


def _bunzipped(packed: bytes, most: int) -> bytes:
    """The first `most` bytes of every stream; Python's reader leaves out those after a broken one.

    Raises:
        EOFError: The last stream is cut off.
        OSError: A stream is broken, or something else follows it.
    """
    data = b""
    while packed and len(data) < most:
        stream = bz2.BZ2Decompressor()
        data += stream.decompress(packed, most - len(data))
        if not stream.eof and len(data) < most:
            raise EOFError("it ends before its end mark")
        packed = stream.unused_data
    return data


def _refuse_binary(data: bytes, path: Path) -> None:
    for mark, name in _BOMS.items():
        if data.startswith(mark):
            raise DataError(
                f"the file begins with a byte order mark ({name})",
                where=where(path, 1),
                hint="Save it as UTF-8 without a byte order mark.",
            )
    for mark, name in _ARCHIVES.items():
        if data.startswith(mark):
            raise DataError(
                f"the file is a {name} archive", where=str(path), hint="Unpack it first."
            )
    for mark, name in _TABLES.items():
        if data.startswith(mark) and data.endswith(mark.rstrip(b"\0")):
            raise DataError(
                f"the file is {name}",
                where=str(path),
                hint="Save it as parquet, JSON lines or CSV.",
            )
    if b"\0" in data:
        row = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise DataError(
            "the file holds a NUL byte: not text",
            where=where(path, row),
            hint="UTF-16 has such bytes: save it as UTF-8.",
        )


def _refuse_other_kinds(text: str, path: Path) -> None:
    if _HTML.match(text) or _HTML_END.fullmatch(text):
        raise DataError(
            "the file is a web page, not data",
            where=where(path, 1),
            hint="The download gave an error or login page; fetch it again.",
        )
    if text.startswith("version https://git-lfs.github.com/spec/"):
        raise DataError(
            "the file is a Git LFS pointer, not data",
            where=where(path, 1),
            hint="Run `git lfs pull` where it came from.",
        )


def split_lines(text: str, path: Path, *, mixed: bool = False) -> list[str]:
    r"""The lines of a text without their ends: `\n`, `\r\n` or `\r`, as in Python's text mode.

    Raises:
        DataError: Line ends are mixed, a sign of files pasted together, and not `mixed`.
    """
    if "\r" in text:
        ends = _LINE_ENDS.findall(text)
        row = next((n for n, end in enumerate(ends, 1) if end != ends[0]), 0)
        if row and not mixed:
            kinds = " and ".join(name for end, name in _END_NAMES.items() if end in ends)
            raise DataError(
                f"line ends are mixed ({kinds})",
                where=where(path, row),
                hint="Make them the same, and check that no row was cut or holds a CR.",
            )
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def read_lines(path: Path, *, mixed: bool = False) -> list[str]:
    """The lines of a UTF-8 file, without their ends (see `read_text` and `split_lines`)."""
    return split_lines(read_text(path), path, mixed=mixed)


def blank_split(text: str) -> list[str]:
    """The words between blanks, tabs and line ends; a no-break space is part of a word."""
    return [word for word in _BLANKS.split(text) if word]


def is_blank(text: str) -> bool:
    """Whether a line or word has nothing but blanks and tabs; a no-break space is something."""
    return not text.strip(" \t\r\n\f\v")


def of_kind(value: Any, kind: type[Kind]) -> Kind:
    """A value of a JSON file when it is of this kind, otherwise a `TypeError`."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def parse_json(text: str, path: Path, row: int = 0) -> Any:
    """The value of a JSON text; `row` is its row in the file, 0 when it is the whole file.

    Raises:
        DataError: Not JSON, cut off, nested without end, with a repeated key or half a character.
    """
    try:
        value = json.loads(text, object_pairs_hook=unique_keys)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            "not valid JSON: half of a surrogate pair, which is no character",
            where=where(path, row or 1),
            hint="Download the file again, or repair its escapes (\\ud800 to \\udfff).",
        ) from None
    except RecursionError:
        raise DataError("not valid JSON: nested too deeply", where=where(path, row or 1)) from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"not valid JSON: {error.msg} (column {error.colno})",
            where=where(path, row or error.lineno),
            hint="The file may be cut off; download it again.",
        ) from None
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}", where=where(path, row or 1)) from None
    return value


def read_json(path: Path) -> Any:
    """The value in a JSON file (see `read_text` and `parse_json`)."""
    return parse_json(read_text(path), path)


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row number and object of each line of a JSON-lines file, or of a JSON list of objects.

    Raises:
        DataError: A line is not a JSON object.
    """
    text = read_text(path)
    values: Iterable[Any]
    if text.lstrip().startswith("["):
        values = parse_json(text, path)
    else:
        lines = enumerate(split_lines(text, path), 1)
        values = (_row(line, path, n) for n, line in lines)
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise DataError("the row is not a JSON object", where=where(path, number))
        yield number, value


def _row(line: str, path: Path, number: int) -> Any:
    if is_blank(line):
        raise DataError("the row is blank", where=where(path, number), hint="Remove blank lines.")
    return parse_json(line, path, number)
