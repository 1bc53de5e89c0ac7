"""A cell: one piece of work of a study, known by the hash of everything that decides it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from xstilts.errors import NotFoundError, UsageError

SHORT = 12
"""Digits of a cell's hash that are shown."""


@dataclass(frozen=True)
class GridCell:
    """One training or evaluation of a study: done once, whoever does it.

    Attributes:
        key: Digest of resolved config, digests of its inputs, code version and parents.
        kind: A file in `grid/kinds`.
        name: For people, such as `mnli/3` or `mnli/3 on xnli`.
        backbone: The backbone it runs on, as the study names it; cells are grouped by it.
        parents: Keys of the cells whose outcomes it needs.
        job: What its kind needs to compute it; plain JSON values.
    """

    key: str
    kind: str
    name: str
    backbone: str
    parents: tuple[str, ...]
    job: Mapping[str, Any]

    @property
    def short(self) -> str:
        """The start of the key, enough to name it."""
        return self.key[:SHORT]

    def record(self) -> dict[str, Any]:
        """Plain JSON values that `from_record` takes."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> GridCell:
        """The cell that `record` was made of."""
        return cls(**{**record, "parents": tuple(record["parents"])})


def named(cells: Sequence[GridCell], wanted: Sequence[str]) -> list[GridCell]:
    """The cells whose hashes begin so; `all` means every one.

    Raises:
        NotFoundError: None begins so.
        UsageError: Several do.
    """
    if list(wanted) == ["all"]:
        return list(cells)
    result = []
    for start in wanted:
        found = [cell for cell in cells if cell.key.startswith(start)]
        if not found:
            raise NotFoundError(
                f"no cell of this study begins with '{start}'",
                hint="List them: xstilts grid status STUDY --cells.",
            )
        if len(found) > 1:
            raise UsageError(f"{len(found)} cells begin with '{start}'", hint="Give more digits.")
        result += found
    return result


def shown_backbones(names: Collection[str]) -> dict[str, str]:
    """What a study's backbones are called in tables: the last part of a folder or repository.

    Those of which two end alike keep their whole names.
    """
    ends = {name: PurePath(name).name for name in names}
    alike = Counter(ends.values())
    return {name: end if alike[end] == 1 else name for name, end in ends.items()}


def with_ancestors(cells: Sequence[GridCell], chosen: Collection[str]) -> frozenset[str]:
    """The chosen keys and those of every cell that they need."""
    wanted = set(chosen)
    for cell in reversed(cells):  # children stand after their parents
        if cell.key in wanted:
            wanted.update(cell.parents)
    return frozenset(wanted)
