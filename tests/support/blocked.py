"""A program that runs commands in a process where no socket to any network can be made.

`python -m support.blocked`: its input is a JSON list of argument lists; its output one of exit
code, stdout and stderr of each. Where a command did want a socket, the code says so.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys


def refuse(event: str, values: tuple) -> None:
    if event in ("socket.getaddrinfo", "socket.connect"):
        raise RuntimeError(f"blocked: {event} {values[-1]!r}")
    if event == "socket.__new__" and values[1] in (socket.AF_INET, socket.AF_INET6):
        raise RuntimeError("blocked: a socket was made")


def main() -> None:
    sys.addaudithook(refuse)
    from xstilts.cli import main as xstilts

    answers = []
    for arguments in json.load(sys.stdin):
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                xstilts(arguments)
            except SystemExit as end:
                code = end.code or 0
            except RuntimeError as error:
                code = str(error)
        answers.append({"code": code, "out": out.getvalue(), "err": err.getvalue()})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
