"""What was found out, kept as long as the files that it is read from are the same files.

A file is the same while its path, size, time of change (in nanoseconds) and inode are. Where one
differs, or is too young for its time to tell, what was kept is not used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from xstilts.files import digest, write_json

YOUNG_SECONDS = 2.0
"""A file may change twice within one tick of its clock: facts of younger ones are not kept."""


class FileFacts:
    """What is kept under a key, for the files as they were when this value was made.

    Args:
        cache: The cache folder; None keeps nothing.
        kind: Of the facts: their folder there.
        key: Everything else that the facts depend on; JSON values.
        files: That they are read from; without any, or with a folder among them, nothing is kept.
            None for facts that no file decides.
    """

    def __init__(
        self, cache: Path | None, kind: str, key: Any, files: Sequence[Path] | None = None
    ) -> None:
        self._seen = time.time()
        self._stamps = _stamps(files or ())
        name = digest({"key": key, "files": [str(path.absolute()) for path in files or ()]})
        keeps = files is None or self._stamps
        self._path = cache / kind / f"{name[:32]}.json" if cache and keeps else None

    def get(self) -> Any:
        """What was kept; None where nothing was, or a file is another one now."""
        if self._path is None:
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            if kept["files"] == self._stamps:
                return kept["facts"]
        return None

    def put(self, facts: Any) -> None:
        """Keep JSON values that were read from the files; a folder that refuses is left alone."""
        youngest = max((stamp[1] for stamp in self._stamps), default=0)
        if self._path is None or youngest > 1e9 * (self._seen - YOUNG_SECONDS):
            return
        with suppress(OSError):
            write_json(self._path, {"files": self._stamps, "facts": facts})


def _stamps(files: Sequence[Path]) -> list[list[int]]:
    """Size, time and inode of each file; none at all where one is no file."""
    stamps = []
    for path in files:
        try:
            found = path.stat()
        except OSError:
            return []
        if path.is_dir():
            return []
        stamps.append([found.st_size, found.st_mtime_ns, found.st_ino])
    return stamps
