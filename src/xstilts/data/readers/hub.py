"""Data sets in hub layout: parquet, JSON or CSV at a pinned revision; never a loading script."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xstilts.config.specs import HubSource, SourceSpec, TaskSpec
from xstilts.data.layout import fill
from xstilts.data.readers import Rows
from xstilts.data.records import read_records
from xstilts.data.rows import Context, ReaderOptions, options_of
from xstilts.data.text import json_lines, read_text
from xstilts.errors import DataError, NetworkError, NotFoundError


class Options(ReaderOptions):
    """Nothing besides what all readers take. Class labels arrive as their names."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The rows of a hub data set: from the folder in `paths`, a local copy, else from the hub.

    Raises:
        DataError: The data set is a loading script, or a row does not fit.
        NotFoundError: It has no such configuration or split.
        NetworkError: The hub cannot be reached.
    """
    options = options_of(Options, source, task)
    hub = source.hub
    assert hub is not None
    config = fill(hub.config, task, source, language)
    base = split.partition(".")[0]
    name = fill(hub.splits.get(base, base), task, source, language)
    table = _load(hub, paths, config, name)
    origin = Path(f"{hub.repo}@{hub.revision[:12]}") / (config or "default")
    context = Context(origin, source, task, language, options)
    yield from read_records(enumerate(_records(table), 1), context)


def _load(hub: HubSource, paths: Sequence[Path], config: str, split: str) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    if paths:
        name, revision = str(paths[0]), None
        _refuse_script(paths[0], hub.repo)
    else:
        name, revision = hub.repo, hub.revision
    try:
        return load_dataset(name, config or None, split=split, revision=revision)
    except RuntimeError as error:
        if "scripts are no longer supported" in str(error):
            raise _script_error(hub.repo) from None
        raise
    except DatasetGenerationError as error:
        _refuse_broken(paths)
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        raise DataError(f"data set {hub.repo} is broken: {cause}", where=name) from None
    except (FileNotFoundError, ValueError) as error:
        _refuse_broken(paths)
        message = " ".join(str(error).split())[:200]
        raise NotFoundError(
            f"data set {hub.repo} has no configuration '{config}' with split '{split}': {message}",
            where=name,
        ) from None
    except (ConnectionError, OSError) as error:
        _refuse_broken(paths)
        message = " ".join(str(error).split())[:200]
        raise NetworkError(
            f"cannot fetch {hub.repo}: {message}",
            hint="Check the connection, or put the original files below --data.",
        ) from None


def _refuse_broken(folders: Sequence[Path]) -> None:
    """Say which file of a local copy is no parquet, JSON or plain text, if one is.

    Raises:
        DataError: The first broken file.
    """
    for path in sorted(path for folder in folders for path in folder.rglob("*.*")):
        if path.suffix == ".parquet":
            _refuse_broken_parquet(path)
        elif path.suffix == ".jsonl":
            deque(json_lines(path), maxlen=0)
        elif path.suffix in (".json", ".csv", ".tsv", ".txt"):
            read_text(path)


def _refuse_broken_parquet(path: Path) -> None:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            deque(file.iter_batches(), maxlen=0)
    except (ArrowException, OSError) as error:
        if path.read_bytes()[:4] != b"PAR1":
            read_text(path)  # says so when it is a web page or a pointer
        what = " ".join(str(error).split())[:200]
        raise DataError(
            f"not a whole parquet file: {what}", where=str(path), hint="Download it again."
        ) from None


def _refuse_script(folder: Path, repo: str) -> None:
    if (folder / f"{folder.name}.py").is_file():
        raise _script_error(repo)


def _script_error(repo: str) -> DataError:
    return DataError(
        f"data set {repo} is a loading script; scripts are never run",
        where=repo,
        hint="Use its parquet branch (refs/convert/parquet) or the original files below --data.",
    )


def _records(table: Any) -> Iterator[Mapping[str, Any]]:
    names = {column: _class_names(feature) for column, feature in table.features.items()}
    named = {column: found for column, found in names.items() if found}
    for record in table:
        yield {c: _named(v, named[c]) if c in named else v for c, v in record.items()}


def _class_names(feature: Any) -> list[str]:
    if hasattr(feature, "names"):
        return list(feature.names)
    inner = feature[0] if isinstance(feature, list) and feature else feature
    inner = getattr(inner, "feature", inner)
    return list(getattr(inner, "names", []))


def _named(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    # -1 is how hub data sets mark a missing label; it is no position from the end.
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
