"""Original files wherever they lie in a folder, and what a conversion writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from xstilts.errors import DataError
from xstilts.files import files_below


@dataclass(frozen=True, slots=True)
class Written:
    """One file of a conversion: its name below its folder, text, and rows; `label` for labels."""

    name: str
    text: str
    rows: int
    label: bool = False


@dataclass
class Raw:
    """Folders with original files; `looked_for` collects what was asked for."""

    folders: Sequence[Path]
    looked_for: list[str] = field(default_factory=list)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for folder in self.folders:
            for path in files_below(folder):
                inside = path.relative_to(folder).parts
                hidden = any(part == "__MACOSX" or part.startswith(".") for part in inside)
                if not hidden:
                    found[path.name].append(path)
        return found

    def all(self, pattern: str) -> list[Path]:
        """The files whose path ends in `pattern` (`*` within a name), sorted by name.

        A pattern may have folders: `de/test_2k.tsv`.
        """
        self.looked_for.append(pattern)
        wanted = pattern.split("/")
        names = [name for name in self._by_name if fnmatchcase(name, wanted[-1])]
        found = [path for name in names for path in self._by_name[name]]
        return sorted(
            (path for path in found if list(path.parts[-len(wanted) : -1]) == wanted[:-1]),
            key=lambda path: (path.name, path.as_posix()),
        )

    def one(self, pattern: str) -> Path | None:
        """The only file whose path ends in `pattern`, or None.

        Raises:
            DataError: There are several, with different content.
        """
        found = self.all(pattern)
        if len(found) > 1 and len({path.read_bytes() for path in found}) > 1:
            places = "\n".join(f"  {path}" for path in found)
            raise DataError(f"several files are called '{pattern}'", where=places)
        return found[0] if found else None
