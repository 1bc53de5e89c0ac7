"""Resident memory of this process."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peak_above(work: Callable[[], object]) -> int:
    """Bytes that `work` needs at its peak above what was resident before it.

    On Linux the kernel's mark of the peak is set back first; elsewhere only a peak above every
    earlier one is seen.
    """
    if _CLEAR.is_file():
        _CLEAR.write_text("5")
        before = _line("VmRSS")
        work()
        return _line("VmHWM") - before
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def _line(name: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return 0
