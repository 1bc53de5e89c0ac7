"""The command line. Commands parse, call one function, print; heavy imports sit inside them."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xstilts.errors import ConfigError, DiskError, XstiltsError

_ROOM = "Make room and run the same command again: finished work is kept, nothing is half-written."
_ELSEWHERE = "Choose another place with --zoo and --results, or by XSTILTS_HOME and XSTILTS_CACHE."
_DISK = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `xstilts` and exit with the code of `xstilts.errors`."""
    from xstilts.cli.app import app, move_global_options

    argv = move_global_options(list(sys.argv[1:] if arguments is None else arguments))
    try:
        with _disk_errors():
            app(args=argv, prog_name="xstilts")
    except XstiltsError as error:
        if "--debug" in argv:
            raise
        print(_as_json(error) if "--json" in argv else _as_text(error), file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Say what to do when a write failed; safetensors reports the system's error as text."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        hint = _DISK[error.errno]
        where = str(error.filename or "")
        raise DiskError(os.strerror(error.errno or 0).lower(), where=where, hint=hint) from error
    except Exception as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found[1]) if found else 0
        if type(error).__name__ != "SafetensorError" or number not in _DISK:
            raise
        raise DiskError(os.strerror(number).lower(), hint=_DISK[number]) from error


def _as_text(error: XstiltsError) -> str:
    lines = [f"error[{error.code}]: {error.what}"]
    if error.where:
        lines.append(error.where if "\n" in error.where else f"  where: {error.where}")
    if error.hint:
        lines.append(f"  try: {error.hint}")
    return "\n".join(lines)


def _as_json(error: XstiltsError) -> str:
    record: dict[str, object] = {
        "schema": "xstilts.error/1",
        "code": error.code,
        "what": error.what,
        "where": error.where,
        "hint": error.hint,
    }
    if isinstance(error, ConfigError):
        record["problems"] = [
            {"place": p.place, "message": p.message, "hint": p.hint} for p in error.problems
        ]
    return json.dumps(record, ensure_ascii=False)
