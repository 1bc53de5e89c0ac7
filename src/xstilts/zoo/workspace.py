"""Where a run reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xstilts.zoo import Zoo


@dataclass(frozen=True)
class Workspace:
    """Where a phase reads and writes, and whom it tells."""

    data: Path | None
    zoo: Zoo
    runs: Path
    cache: Path | None
    offline: bool = False
    quiet: bool = False
    trackers: tuple[str, ...] = ()
