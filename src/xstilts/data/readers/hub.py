"""Data sets in hub layout: parquet, JSON or CSV at a pinned revision; never a loading script.

A local copy is read by `xstilts.data.hub_copy`; `datasets` loads only what has to be fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from xstilts.config.specs import HubSource, SourceSpec, TaskSpec
from xstilts.data import hub_copy
from xstilts.data.readers import Rows
from xstilts.data.records import no_records, read_records, wanted_records
from xstilts.data.rows import Context, ReaderOptions, options_of
from xstilts.errors import DataError, NetworkError, NotFoundError


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
    config, name = hub_copy.names_of(task, source, split, language)
    if paths:
        yield from _copy(paths[0], source, task, language, split)
        return
    table = _load(hub, config, name)
    origin = Path(f"{hub.repo}@{hub.revision[:12]}") / (config or "default")
    context = Context(origin, source, task, language, options)
    yield from read_records(enumerate(_records(table), 1), context)


def _copy(folder: Path, source: SourceSpec, task: TaskSpec, language: str, split: str) -> Rows:
    assert source.hub is not None
    files = hub_copy.split_files(folder, task, source, split, language)
    config, name = hub_copy.names_of(task, source, split, language)
    if not files and (folder / f"{folder.name}.py").is_file():
        raise _script_error(source.hub.repo)
    if not files:
        raise NotFoundError(
            f"the copy of {source.hub.repo} has no files of configuration '{config}', split "
            f"'{name}'",
            where=str(folder),
            hint="Download them, or let the card or the files' names say which they are.",
        )
    options, numbers, seen = options_of(Options, source, task), count(1), False
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


def _load(hub: HubSource, config: str, split: str) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    try:
        return load_dataset(hub.repo, config or None, split=split, revision=hub.revision)
    except RuntimeError as error:
        if "scripts are no longer supported" in str(error):
            raise _script_error(hub.repo) from None
        raise
    except DatasetGenerationError as error:
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        raise DataError(f"data set {hub.repo} is broken: {cause}", where=hub.repo) from None
    except (FileNotFoundError, ValueError) as error:
        message = " ".join(str(error).split())[:200]
        raise NotFoundError(
            f"data set {hub.repo} has no configuration '{config}' with split '{split}': {message}",
            where=hub.repo,
        ) from None
    except (ConnectionError, OSError) as error:
        message = " ".join(str(error).split())[:200]
        raise NetworkError(
            f"cannot fetch {hub.repo}: {message}",
            hint="Check the connection, or put the original files below --data.",
        ) from None


def _script_error(repo: str) -> DataError:
    return DataError(
        f"data set {repo} is a loading script; scripts are never run",
        where=repo,
        hint="Use its parquet branch (refs/convert/parquet) or the original files below --data.",
    )


def _records(table: Any) -> Iterator[Mapping[str, Any]]:
    found = {column: _class_names(feature) for column, feature in table.features.items()}
    names = {column: of_column for column, of_column in found.items() if of_column}
    for record in table:
        yield _with_names(record, names)


def _class_names(feature: Any) -> list[str]:
    if hasattr(feature, "names"):
        return list(feature.names)
    inner = feature[0] if isinstance(feature, list) and feature else feature
    inner = getattr(inner, "feature", inner)
    return list(getattr(inner, "names", []))
