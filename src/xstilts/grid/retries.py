"""How often and when a cell is tried, by the class of the error that ended it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xstilts.errors import (
    DataError,
    DiskError,
    FindingsError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    OfflineError,
    UsageError,
    XstiltsError,
)

LOST = "WorkerLost"
"""Class of the failure that a dead worker leaves: killed, out of memory, or cut off."""

ATTEMPTS: tuple[tuple[type[BaseException], int], ...] = (
    (OfflineError, 1),
    (NetworkError, 5),
    (DiskError, 1),
    (UsageError, 1),
    (NotFoundError, 1),
    (DataError, 1),
    (IntegrityError, 1),
    (FindingsError, 1),
    (MemoryError, 2),
    (OSError, 3),
    (Exception, 2),
)
"""First class that fits to the number of attempts; the same input gives the same error again."""

TRANSIENT = (NetworkError, OSError)
"""Errors that may pass by themselves: a cell waits before it is tried again."""

LOST_ATTEMPTS = 10
"""Deaths of workers after which a cell is thought to kill them."""


def attempts(error: BaseException) -> int:
    """How often a cell may end with this error."""
    return next((number for kind, number in ATTEMPTS if isinstance(error, kind)), 1)


def failure_record(error: BaseException, trace: str) -> dict[str, Any]:
    """What is kept of an error; `attempts` is the number allowed for its class."""
    known = isinstance(error, XstiltsError)
    return {
        "error": type(error).__name__,
        "code": error.code if isinstance(error, XstiltsError) else "",
        "what": error.what if isinstance(error, XstiltsError) else str(error) or repr(error),
        "where": error.where if isinstance(error, XstiltsError) else "",
        "hint": error.hint if isinstance(error, XstiltsError) else "",
        "attempts": attempts(error),
        "transient": isinstance(error, TRANSIENT),
        "trace": "" if known else trace,
    }


def lost_record(lease: Mapping[str, Any]) -> dict[str, Any]:
    """The failure of a cell whose worker died."""
    return {
        "error": LOST,
        "code": "XS-WORKER-LOST",
        "what": f"worker {lease['owner']} ended without a word (host {lease['host']}, pid "
        f"{lease['pid']}): killed, out of memory, or the machine is gone",
        "where": "",
        "hint": "See its log; give it more memory when it happens again.",
        "attempts": LOST_ATTEMPTS,
        "trace": "",
    }


def used_up(failures: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a cell with these failures is not tried again."""
    counts: dict[str, int] = {}
    for failure in failures:
        counts[failure["error"]] = counts.get(failure["error"], 0) + 1
    return any(counts[failure["error"]] >= failure["attempts"] for failure in failures)


def wait_seconds(failures: Sequence[Mapping[str, Any]]) -> int:
    """How long a cell waits after the last of these failures before it is tried again."""
    if not failures or not failures[-1].get("transient"):
        return 0
    return min(60, 2 ** len(failures))
