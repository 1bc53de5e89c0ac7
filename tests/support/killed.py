"""A program that does one thing with modules at a time, in a process that is killed at will.

Each line of its input is a JSON object; each answer is one, on a line of its own. The work is done
in a fork, so that a kill may come at any moment of it without the price of a new interpreter:

    {"do": "add" | "push" | "pull" | "rm", "zoo": …, "folder": …, "target": …, "tags": […],
     "at": kill before its n-th step (a file opened, renamed, removed, linked, a connection…),
     "after": kill so many seconds after it began}

The answer holds `killed`, and, of work that ended by itself, `steps`, `seconds` and `error`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

STEPS = ("open", "os.", "shutil.", "socket.", "tempfile.")


def work(job: dict[str, Any]) -> None:
    from xstilts.zoo import Zoo, hubs
    from xstilts.zoo.maintenance import copy_into

    zoo = Zoo(Path(job["zoo"]))
    if job["do"] == "add":
        copy_into(zoo, Path(job["folder"]))
    elif job["do"] == "push":
        options = hubs.PushOptions(tags=tuple(job.get("tags", ())))
        hubs.push(Path(job["folder"]), job["target"], options)
    elif job["do"] == "pull":
        hubs.pull(job["target"], zoo)
    else:
        zoo.remove(zoo.find(job["target"]))


def child(job: dict[str, Any], answer: int) -> None:
    """Do the work; dies at step `at`, or says how it went."""
    steps = 0

    def count(event: str, _: object) -> None:
        nonlocal steps
        if event.startswith(STEPS):
            steps += 1
            if steps == job.get("at"):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    error, started = "", time.perf_counter()
    try:
        work(job)
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    record = {"steps": steps, "seconds": time.perf_counter() - started, "error": error}
    os.write(answer, json.dumps(record).encode())
    os._exit(0)


def run(job: dict[str, Any]) -> dict[str, Any]:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        child(job, writable)
    os.close(writable)
    if job.get("after") is not None:
        time.sleep(job["after"])
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(readable, "rb") as file:
        said = file.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"killed": True}
    return {"killed": False, **json.loads(said)}


def main() -> None:
    from xstilts.zoo.hubs import HUBS

    for name in HUBS.names():
        HUBS.get(name)
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
