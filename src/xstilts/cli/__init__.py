"""The command line. Commands parse, call one function, print; heavy imports sit inside them."""

from __future__ import annotations

import atexit
import gc
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xstilts.errors import ConfigError, DiskError, XstiltsError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `xstilts` and exit with the code of `xstilts.errors`."""
    from xstilts.cli.app import command_tree, move_global_options
    from xstilts.config.cpu import share_the_machine

    atexit.register(gc.freeze)  # torch's objects go with the process, not one by one in seconds
    share_the_machine()
    argv = move_global_options(list(sys.argv[1:] if arguments is None else arguments))
    tree = command_tree(argv)
    if "_XSTILTS_COMPLETE" in os.environ:  # set by the shell when it asks for completions
        from xstilts.cli.completion import attach

        attach(tree)
    try:
        with _disk_errors():
            tree(args=argv, prog_name="xstilts")
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
    """Say what to do when a write failed."""
    try:
        yield
    except Exception as error:
        known = DiskError.of(error)
        if known is None:
            raise
        raise known from error


def _as_text(error: XstiltsError) -> str:
    lines = [f"error[{error.code}]: {error.what}"]
    if error.where:
        lines.append(error.where if "\n" in error.where else f"  where: {error.where}")
    if error.hint:
        lines.append(f"  try: {error.hint}")
    return "\n".join(folded for line in lines for folded in _folded(line))


def _folded(text: str) -> list[str]:
    """Lines no wider than the terminal, cut at blanks; what can be copied as a command stays."""
    if "xstilts " in text or not (sys.stderr.isatty() or "COLUMNS" in os.environ):
        return [text]
    width = shutil.get_terminal_size().columns
    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return [
        part
        for line in text.split("\n")
        for part in textwrap.wrap(line, width, subsequent_indent="    ", **how) or [line]
    ]


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
