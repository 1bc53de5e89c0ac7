"""JSON from others: small, flat enough, every key once, no surprises in its text."""

from __future__ import annotations

import json
import stat
import unicodedata
from pathlib import Path
from typing import Any

from xstilts.errors import IntegrityError
from xstilts.files import unique_keys

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 32
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Marks that make a terminal show a text in another order than it is stored."""


class _RefusedError(ValueError):
    """Well-formed JSON that is not taken."""


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value in a JSON file.

    Raises:
        IntegrityError: The file is missing, no regular file, too large, not UTF-8, not JSON, nested
            too deeply, repeats a key, or holds NaN, infinities or control characters.
    """
    return checked_json(read_small(path, max_bytes), path.name, str(path))


def checked_json(data: bytes, name: str, where: str) -> Any:
    """The value of JSON bytes from a file called `name`.

    Raises:
        IntegrityError: See `read_json`.
    """
    try:
        return parse_json(data)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise IntegrityError(f"{name} is broken: {reason}", where=where) from None


def real_file(path: Path) -> Path:
    """The file itself, where `path` is a link of the hub's cache; else `path`.

    The hub's cache keeps files as `snapshots/<commit>/<name>`, links into the same repository.

    Raises:
        IntegrityError: It is another link: that could lead anywhere.
    """
    if not path.is_symlink():
        return path
    target, snapshots = path.resolve(), path.parent.resolve().parent
    if snapshots.name == "snapshots" and target.is_relative_to(snapshots.parent / "blobs"):
        return target
    raise IntegrityError(
        f"{path.name!a} is a link, no regular file",
        where=str(path.parent),
        hint="Copy the folder with what the links lead to (cp -rL), or name hf:org/name.",
    )


def read_small(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file that is no link and not larger than `max_bytes`.

    Raises:
        IntegrityError: It is missing, something else, or larger.
    """
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise IntegrityError(f"{path.name} is no regular file", where=str(path))
        if found.st_size > max_bytes:
            raise IntegrityError(
                f"{path.name} has {found.st_size} bytes, more than {max_bytes}", where=str(path)
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(f"{path.name} is missing", where=str(path)) from None
    except OSError as error:
        raise IntegrityError(f"{path.name}: {error.strerror}", where=str(path)) from None


def parse_json(data: bytes) -> Any:
    """The value of JSON bytes.

    Raises:
        ValueError: The bytes are not JSON, or JSON that is not taken; see `read_json`.
    """
    value = json.loads(
        data.decode("utf-8"),
        object_pairs_hook=unique_keys,
        parse_constant=_no_constant,
        parse_float=_finite,
    )
    _check(value, 0)
    return value


def _no_constant(text: str) -> Any:
    raise _RefusedError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _RefusedError(f"{text} is too large a number")
    return value


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _RefusedError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, str):
        _check_text(value)


def _check_text(text: str) -> None:
    if text.isascii() and text.isprintable():
        return
    for character in text:
        if character in _BIDIRECTIONAL or (
            unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"
        ):
            raise _RefusedError(f"it holds the control character U+{ord(character):04X}")
