"""How many cores this process takes and how its threads wait for each other."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

SPINS = "1000"
"""Rounds that an OpenMP thread spins before it sleeps: costs nothing on an idle machine, and leaves
the cores to others on a shared one, where the default spins through the others' turns."""
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CGROUP = Path("/sys/fs/cgroup")


def share_the_machine(environment: MutableMapping[str, str] | None = None) -> None:
    """Let threads wait shortly, and take no more of them than the container's quota.

    Only where the environment says nothing of it, and only before torch is loaded, which reads it
    once. The load of the moment does not count: another number of threads gives other last bits.

    Args:
        environment: The process's own when None.
    """
    if "torch" in sys.modules and environment is None:
        return
    settings = os.environ if environment is None else environment
    if not any(name in settings for name in WAITING):
        settings["GOMP_SPINCOUNT"] = SPINS
    if not any(name in settings for name in COUNTS) and cores() < _allowed():
        settings["OMP_NUM_THREADS"] = str(cores())


def waiting() -> str:
    """How threads wait, as the environment says it; for `doctor`."""
    said = [f"{name}={os.environ[name]}" for name in WAITING if name in os.environ]
    return ", ".join(said) or "OpenMP's default"


def cores() -> int:
    """Cores that this process may use: those it is bound to, or fewer by its container's quota."""
    quota = _quota()
    return min(_allowed(), max(1, math.ceil(quota))) if quota else _allowed()


def _allowed() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1


def _quota() -> float | None:
    """Cores' worth of time that the control group grants, versions 2 and 1; None for no limit."""
    try:
        if (_CGROUP / "cpu.max").is_file():
            granted, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        else:
            granted, period = (
                (_CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip()
                for name in ("quota", "period")
            )
    except (OSError, ValueError):
        return None
    return None if granted in ("max", "-1") else int(granted) / int(period)
