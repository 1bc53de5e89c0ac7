"""Which modules a study made: they stand apart from the library until somebody wants one there.

`.studies/<study>/<digest>` is an empty file for each. It is beside the modules and not in them, so
that a module, its digest and what was evaluated with it are the same in a study and outside.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from xstilts.files import write_text

FOLDER = ".studies"


def marks(root: Path) -> dict[str, str]:
    """Digest to the study that made it, the first of several by name."""
    found: dict[str, str] = {}
    for path in sorted((root / FOLDER).glob("[!.]*/[!.]*")):
        found.setdefault(path.name, path.parent.name)
    return found


def mark(root: Path, study: str, digest: str) -> None:
    """Note that a study made a module; the caller holds the library's lock."""
    write_text(root / FOLDER / study / digest, "")


def unmark(root: Path, digest: str) -> None:
    """Take a module out of every study; the caller holds the library's lock."""
    for path in (root / FOLDER).glob(f"[!.]*/{digest}"):
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other modules are there
            path.parent.rmdir()
