"""Leases: who computes a cell, so that nobody else does, and somebody else does when they died.

Lease number n of a cell is the file `lease-<n>.json`; the highest number counts. Claiming creates
the next one, which succeeds for exactly one claimant; only its owner ever changes it. A lease is
over when its owner released it, when its process is gone from this machine, or when its heartbeat
has not moved for a while on the observer's own clock, so that clocks need not agree.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from xstilts.files import create_json, write_json

BEAT_SECONDS = 5.0
"""Time between heartbeats."""
STALE_SECONDS = 60.0
"""A lease on another machine whose heartbeat has not moved for so long is over."""

SIX = "[0-9]" * 6
"""The number in a file's name, as a pattern."""


@dataclass(frozen=True)
class Owner:
    """A process that holds leases.

    Attributes:
        id: Different for every worker ever.
        space: The process namespace that `pid` belongs to; equal within one machine or container.
        started: When the process started, in ticks since boot; 0 where the system does not say.
    """

    id: str
    host: str
    space: str
    pid: int
    started: int

    @classmethod
    def of_this_process(cls) -> Owner:
        """A new owner in this process."""
        pid = os.getpid()
        host = socket.gethostname()
        return cls(f"{host}-{pid}-{uuid4().hex[:6]}", host, _space(), pid, _started(pid))

    def record(self) -> dict[str, Any]:
        """What a lease says of its owner."""
        return {
            "owner": self.id,
            "host": self.host,
            "space": self.space,
            "pid": self.pid,
            "started": self.started,
        }


@cache
def _space() -> str:
    """Tells apart machines, boots and containers."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # no Linux
        parts.append(os.name)
    return " ".join(parts)


def _started(pid: int) -> int:
    """Start of a process in ticks since boot; 0 when that cannot be known, -1 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return -1 if Path("/proc/self/stat").exists() else 0
    except OSError:
        return 0
    after_name = text.rpartition(")")[2].split()
    return -1 if after_name[0] in ("Z", "X") else int(after_name[19])


def process_is_gone(record: Mapping[str, Any]) -> bool:
    """Whether the process that a lease speaks of is known to have ended.

    False where that cannot be known: on another machine, or in another container.
    """
    if record.get("space") != _space():
        return False
    pid, began = int(record["pid"]), int(record["started"])
    now = _started(pid)
    if now == 0:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False
    return now == -1 or (began > 0 and now != began)


@dataclass
class Watch:
    """What one observer has seen of other workers' heartbeats.

    Attributes:
        stale_seconds: See `STALE_SECONDS`.
        seen: Lease file to its last beat and when that was first seen, on this process' clock.
    """

    stale_seconds: float = STALE_SECONDS
    seen: dict[Path, tuple[int, float]] = field(default_factory=dict)

    def is_over(self, path: Path, record: Mapping[str, Any] | None) -> bool:
        """Whether nobody works under this lease; an unreadable lease is watched like another."""
        if record is not None and record["state"] != "held":
            return True
        if record is not None and process_is_gone(record):
            return True
        beat = int(record["beat"]) if record is not None else -1
        before = self.seen.get(path)
        if before is None or before[0] != beat:
            self.seen[path] = (beat, time.monotonic())
            return False
        return time.monotonic() - before[1] > self.stale_seconds


@dataclass
class Lease:
    """A lease that this process holds.

    Attributes:
        number: Of the attempt at the cell, from 1.
        lost: The record of the lease before it, when its owner died holding it.
    """

    folder: Path
    number: int
    owner: Owner
    beat: int = 0
    lost: Mapping[str, Any] | None = None

    @property
    def path(self) -> Path:
        """The lease's file."""
        return lease_path(self.folder, self.number)

    def record(self, state: str) -> dict[str, Any]:
        """The content of the lease's file, as JSON values."""
        time_now = datetime.now(UTC).isoformat(timespec="seconds")
        return {**self.owner.record(), "beat": self.beat, "time": time_now, "state": state}

    def renew(self) -> None:
        """Let the heart beat once."""
        self.beat += 1
        write_json(self.path, self.record("held"))

    def release(self, state: str) -> None:
        """Give it up; `state` says why: `done`, `failed`, `cancelled` or `preempted`."""
        self.beat += 1
        write_json(self.path, self.record(state))


def lease_path(folder: Path, number: int) -> Path:
    """The file of lease `number` of a cell."""
    return folder / f"lease-{number:06d}.json"


def newest(folder: Path) -> tuple[int, dict[str, Any] | None]:
    """Number and content of the lease that counts; 0 when there was none.

    The content is None while it cannot be read.
    """
    numbers = [int(path.stem[6:]) for path in folder.glob(f"lease-{SIX}.json")]
    if not numbers:
        return 0, None
    number = max(numbers)
    try:
        record = json.loads(lease_path(folder, number).read_bytes())
    except (OSError, ValueError):
        return number, None
    whole = isinstance(record, dict) and {"state", "beat", "owner", "host", "pid"} <= record.keys()
    return number, record if whole else None


def claim(folder: Path, owner: Owner, watch: Watch) -> Lease | None:
    """A lease on a cell, or None when somebody has one."""
    number, record = newest(folder)
    if number and not watch.is_over(lease_path(folder, number), record):
        return None
    lease = Lease(folder, number + 1, owner)
    if not create_json(lease.path, lease.record("held")):
        return None
    if number and (record is None or record["state"] == "held"):
        lease.lost = record or {"owner": "unknown", "host": "unknown", "pid": 0}
    return lease
