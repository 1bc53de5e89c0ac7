"""The data files of some tasks as one archive, for a machine without a network."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xstilts.config.specs import TaskSpec
from xstilts.data.prepare import list_data
from xstilts.data.world import FILE as WORLD
from xstilts.errors import NotFoundError, UsageError
from xstilts.files import atomic_file, json_text, sha256_file

CONTENTS = "CONTENTS.json"
"""Name of the list of files, licences and checksums inside the archive."""


@dataclass(frozen=True)
class Bundle:
    """An archive of data that was written, and what is in it.

    Attributes:
        path: The archive.
        files: How many data files it holds.
        num_bytes: Their size together.
        licenses: Task to licence; passing data on is up to these.
    """

    path: Path
    files: int
    num_bytes: int
    licenses: dict[str, str]


def bundle(tasks: Sequence[TaskSpec], root: Path, path: Path) -> Bundle:
    """Pack every file of the tasks below `root`; equal data gives equal bytes.

    Unpack it with `tar -xf` anywhere and name that folder with `--data`.

    Raises:
        NotFoundError: None of the tasks has a file below `root`.
        UsageError: `path` does not end in `.tar`, or a file lies outside `root`.
    """
    if path.suffix != ".tar":
        raise UsageError(f"'{path.name}' does not end in .tar", hint="Text files pack as they are.")
    owners: dict[Path, set[str]] = {}
    for task in tasks:
        for found in list_data([task], root):
            for file in found.files:
                owners.setdefault(file, set()).add(task.name)
    if not owners:
        names = ", ".join(task.name for task in tasks)
        raise NotFoundError(f"no data files of {names}", where=str(root), hint="Check --data.")
    if (root / WORLD).is_file():
        owners[root / WORLD] = set()
    licenses = {
        t.name: t.license for t in tasks if any(t.name in names for names in owners.values())
    }
    with atomic_file(path) as temporary:
        _pack(owners, licenses, root, temporary)
    return Bundle(path, len(owners), sum(file.stat().st_size for file in owners), licenses)


def _pack(
    owners: dict[Path, set[str]], licenses: dict[str, str], root: Path, archive: Path
) -> None:
    names = {_name(file, root): file for file in owners}
    listed = {
        name: {"sha256": sha256_file(file), "tasks": sorted(owners[file])}
        for name, file in names.items()
    }
    contents = json_text({"files": listed, "licenses": licenses}).encode("utf-8")
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, CONTENTS, io.BytesIO(contents), len(contents))
        for name in sorted(names):
            with names[name].open("rb") as stream:
                _add(tar, name, stream, names[name].stat().st_size)


def _add(tar: tarfile.TarFile, name: str, stream: io.BufferedIOBase, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    tar.addfile(entry, stream)


def _name(file: Path, root: Path) -> str:
    if not file.is_relative_to(root):
        raise UsageError("a data file lies outside the data folder", where=str(file))
    return file.relative_to(root).as_posix()
