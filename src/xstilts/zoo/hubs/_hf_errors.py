"""What the hub's client raises, as our errors, and trying again where that helps.

Messages are built from status codes only: what a server or a client says of a request could hold an
address with a signature in it, or a token.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from xstilts.config.hub_models import is_connection_error
from xstilts.errors import NetworkError, NotFoundError, OfflineError, UsageError, XstiltsError

T = TypeVar("T")

ATTEMPTS = 4
WAIT_SECONDS = 1.0
"""Before the second attempt; doubled for each further one."""

_LOGIN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may do this."
_XET_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3})\b")
"""In the message of what `hf_xet` raises, which has no response."""

_BUSY = (412, 429, 500, 502, 503, 504)
"""Statuses that may pass; 412 says that somebody else committed meanwhile."""


def translated(
    work: Callable[[], T], where: str, *, missing: str = "", attempts: int = ATTEMPTS
) -> T:
    """Run `work` against the hub, again when it is busy or the connection breaks.

    Args:
        work: Must be safe to repeat, unless `attempts` is 1.
        where: The address, for messages.
        missing: The file that `work` asks for, if it is one.
        attempts: How often to try.

    Raises:
        NotFoundError: No such repository, revision or file, or it is private to others.
        NetworkError: No access, no answer, or still busy after several attempts.
        OfflineError: It is not in the cache and the network must not be used.
    """
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except XstiltsError:
            raise
        except Exception as error:
            cause = _cause(error)
            ours = _explained(cause, where, missing)
            if ours is None:
                raise
            if not _passes(cause) or attempt == attempts:
                raise ours from None
            time.sleep(_wait(cause, attempt))
    raise AssertionError("the last attempt returns or raises")


def _cause(error: Exception) -> Exception:
    """What went wrong, where the client only says that the cache lacks a file or an upload failed.

    `RuntimeError` is what it raises around the error of one of several uploads.
    """
    inner = error.__cause__
    outer = type(error) is RuntimeError or isinstance(error, LocalEntryNotFoundError)
    return _cause(inner) if outer and isinstance(inner, Exception) else error


def _status(error: Exception) -> int:
    response: Any = getattr(error, "response", None)
    status = _XET_STATUS.search(str(error)) if isinstance(error, ConnectionError) else None
    return int(status[1] if status else getattr(response, "status_code", 0) or 0)


def lacks_xet(error: Exception) -> bool:
    """Whether an upload failed as the hub has no xet storage: it knows no token for it.

    `huggingface_hub` 2 does not ask the hub which of the two storages it takes, as 0 did.
    """
    return _status(error) == 404 and "/xet-write-token/" in str(error)


def _passes(error: Exception) -> bool:
    """Whether it may work a moment later."""
    return _status(error) in _BUSY or (_status(error) == 0 and _broken(error))


def _wait(error: Exception, attempt: int) -> float:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    stated = str(headers.get("Retry-After", ""))
    return min(float(stated), 60.0) if stated.isdigit() else WAIT_SECONDS * 2 ** (attempt - 1)


def _broken(error: Exception) -> bool:
    """Whether the connection failed."""
    return not isinstance(error, OfflineModeIsEnabled) and is_connection_error(error)


def _explained(error: Exception, where: str, missing: str) -> XstiltsError | None:
    """Our error for one of the client's; None for one that is nobody's fault but ours."""
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return OfflineError(
            f"{where} is not in the cache, and this run is offline",
            hint="Pull it once without --offline.",
        )
    if isinstance(error, LocalTokenNotFoundError):
        return NetworkError(f"{where} needs a token", hint=_LOGIN)
    if isinstance(error, GatedRepoError):
        return NetworkError(
            f"{where} is gated: its owner must let you in",
            hint="Ask for access on its page, then log in with `hf auth login`.",
        )
    if isinstance(error, EntryNotFoundError):
        return _no_file(where, missing)
    if isinstance(error, RevisionNotFoundError):
        return NotFoundError(f"{where}: no such revision", hint="Check what stands after the @.")
    if isinstance(error, RepositoryNotFoundError):
        return NotFoundError(f"{where} does not exist, or it is private", hint=_LOGIN)
    if _status(error):
        return _by_status(_status(error), where)
    if isinstance(error, ValueError) and "LFS batch" in str(error):
        return NetworkError(
            f"{where}: the hub does not take these files",
            hint="Look at the account's storage quota and at the repository's settings.",
        )
    if isinstance(error, ValueError) and "Invalid metadata" in str(error):
        return UsageError(
            f"{where}: the hub does not take what the card's head says",
            hint="--license takes the hub's ids only, such as apache-2.0, mit, cc-by-4.0 or other.",
        )
    if _broken(error):
        return NetworkError(
            f"{where} cannot be reached",
            hint="Check the network and HF_ENDPOINT; `xstilts doctor --hub` shows what it sees.",
        )
    return None


def _no_file(where: str, missing: str) -> XstiltsError:
    if missing == "manifest.json":
        return NotFoundError(
            f"{where} is no xstilts module: it has no manifest.json",
            hint=f"For a plain adapters or peft repository: xstilts zoo import {where}",
        )
    return NotFoundError(f"{where} has no file '{missing}'")


def _by_status(status: int, where: str) -> XstiltsError:
    if status == 401:
        return NetworkError(f"{where}: the token is missing or not valid (401)", hint=_LOGIN)
    if status == 403:
        return NetworkError(f"{where}: the token may not do this (403)", hint=_LOGIN)
    if status == 404:
        return NotFoundError(f"{where} does not exist, or it is private (404)", hint=_LOGIN)
    if status == 412:
        return NetworkError(f"{where}: others keep committing (412)", hint="Push again.")
    if status == 429:
        return NetworkError(f"{where}: too many requests (429)", hint="Wait some minutes.")
    if status >= 500:
        return NetworkError(f"{where}: the hub failed ({status})", hint="Try again later.")
    return NetworkError(f"{where}: the hub refused ({status})", hint="Update huggingface_hub.")
