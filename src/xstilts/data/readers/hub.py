"""Data sets in hub layout: parquet, JSON or CSV at a pinned revision; never a loading script.

A local copy is read by `xstilts.data.hub_copy`; what is not here is fetched into the hub's cache
and read the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data import hub_copy
from xstilts.data.hub_fetch import fetch
from xstilts.data.readers import Rows
from xstilts.data.records import no_records, wanted_records
from xstilts.data.rows import Context, ReaderOptions, options_of
from xstilts.errors import DataError, NotFoundError


class Options(ReaderOptions):
    """Nothing besides what all readers take. Class labels arrive as their names."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The rows of a hub data set: from the folder in `paths`, a local copy, else from the hub.

    Raises:
        DataError: The data set is a loading script, a file is broken, a row does not fit, or the
            source names no data set.
        NotFoundError: It has no such configuration or split.
        NetworkError: The hub cannot be reached.
    """
    options = options_of(Options, source, task)
    hub = source.hub
    if hub is None:
        raise DataError(
            "the source names no data set of a hub",
            where=f"task {task.name}, reader {source.reader}",
            hint="Add `hub: {repo: …, revision: …}`, or take the reader of its files.",
        )
    if paths:
        folder = paths[0]
        files = hub_copy.split_files(folder, task, source, split, language)
    else:
        folder, files = fetch(task, source, split, language)
    config, name = hub_copy.names_of(task, source, split, language)
    if not files and (folder / f"{hub.repo.rpartition('/')[2]}.py").is_file():
        raise _script_error(hub.repo)
    if not files:
        raise NotFoundError(
            f"{'the copy of ' if paths else ''}{hub.repo} has no files of configuration "
            f"'{config}', split '{name}'",
            where=str(folder),
            hint="Download them, or let the card or the files' names say which they are.",
        )
    numbers, seen = count(1), False
    for path in files:
        context = Context(path, source, task, language, options)
        names = hub_copy.class_names(folder, config, path)
        records = ((row, _with_names(record, names)) for row, record in hub_copy.records(path))
        for found in wanted_records(records, context, names=numbers):
            seen = True
            yield found
    if not seen:
        raise no_records(Context(folder, source, task, language, options))


def _with_names(record: Mapping[str, Any], names: Mapping[str, list[str]]) -> Mapping[str, Any]:
    return {c: hub_copy.named(v, names[c]) if c in names else v for c, v in record.items()}


def _script_error(repo: str) -> DataError:
    return DataError(
        f"data set {repo} is a loading script; scripts are never run",
        where=repo,
        hint="Use its parquet branch (refs/convert/parquet) or the original files below --data.",
    )
