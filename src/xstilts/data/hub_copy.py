"""A local copy of a hub data set: the files of a split and the rows in them, as they stand.

Which files belong to a split is what the card (`README.md`) says, as on the hub, or what names and
folders say: `test.csv`, `de/test-00000-of-00001.parquet`, `de/test/0000.parquet`. Files that the
card names and the copy lacks are no matter. Text is text: nothing is retyped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.layout import fill
from xstilts.data.rows import text_of
from xstilts.data.table import TableOptions, cells_of, other_width, require_distinct
from xstilts.data.text import PACKED, json_lines, read_lines, read_text
from xstilts.errors import DataError
from xstilts.files import files_below

CARD = "README.md"
KINDS = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".txt")
_NOT_READ = (".xz", ".zst", ".zip", ".arrow")
_NO_ROWS = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"}
_WORDS = {
    "train": {"train", "training"},
    "validation": {"validation", "valid", "val", "dev"},
    "test": {"test", "testing", "eval", "evaluation"},
}
_SHARD = re.compile(r"-(\d{5})-of-(\d{5}).*")
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)

Record = tuple[int, Mapping[str, Any]]
"""Row of the file, from 1, and its columns."""


def names_of(task: TaskSpec, source: SourceSpec, split: str, language: str) -> tuple[str, str]:
    """What the hub calls the configuration and the split of a source."""
    assert source.hub is not None
    base = split.partition(".")[0]
    name = source.hub.splits.get(base, base)
    return fill(source.hub.config, task, source, language), fill(name, task, source, language)


def split_files(
    folder: Path, task: TaskSpec, source: SourceSpec, split: str, language: str
) -> tuple[Path, ...]:
    """The files of a split in a copy, in order; nothing when it has none of them.

    Raises:
        DataError: The card is broken or names files outside of the copy, or the split is there in
            several kinds of files, or with some of its files only.
    """
    config, name = names_of(task, source, split, language)
    files = _files(folder)
    stated = _stated(folder, config)
    if stated is not None:
        patterns = stated.get(name, [])
        found = {path for pattern in patterns for path in _matching(folder, pattern)}
        chosen = [path for path in files if path in found]
    else:
        assert source.hub is not None
        chosen = _by_name(folder, files, config, name, varies="{" in source.hub.config)
    kinds = sorted({path.suffix for path in chosen})
    if len(kinds) > 1:
        raise DataError(
            f"split '{name}' is there as {' and '.join(kinds)}",
            where=str(folder),
            hint="Keep the files of one kind.",
        )
    _require_every_part(chosen, name)
    return tuple(chosen)


def _require_every_part(files: Sequence[Path], split: str) -> None:
    """Refuse files whose names say that they are some of several, and the others are not there."""
    there: dict[tuple[str, int], set[int]] = {}
    for path in files:
        part = _SHARD.search(path.name)
        if part is not None:
            stem = str(path.with_name(path.name[: part.start()]))
            there.setdefault((stem, int(part[2])), set()).add(int(part[1]))
    for (stem, count), numbers in there.items():
        if missing := sorted(set(range(count)) - numbers):
            raise DataError(
                f"{len(missing)} of the {count} files of split '{split}' are missing",
                where=f"{stem}-{missing[0]:05d}-of-{count:05d}",
                hint="Copy all of them.",
            )


def _files(folder: Path) -> list[Path]:
    """Every file that may hold rows, by name."""
    found = []
    for path in files_below(folder):
        inside = path.relative_to(folder).parts
        hidden = any(part.startswith((".", "__")) for part in inside)
        kind = path.suffix.lower() in (*KINDS, *PACKED, *_NOT_READ)
        if kind and not hidden and path.name not in _NO_ROWS:
            found.append(path)
    return sorted(found)


# ------------------------------------------------------------------------------------- the card


def _card(folder: Path) -> Mapping[str, Any]:
    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        values = _front_matter(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())[:200]
        raise DataError(f"the card's header is no YAML: {what}", where=str(path)) from None
    return values if isinstance(values, dict) else {}


@lru_cache(maxsize=8)
def _front_matter(text: str) -> Any:
    header = _FRONT.match(text)
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # a label or language `no` is a text
    return yaml.load(header[1], loader) if header else {}  # noqa: S506  (a safe loader)


def _stated(folder: Path, config: str) -> dict[str, list[str]] | None:
    """Split to file patterns of a configuration; None where the card names no such one."""
    entries = [item for item in _card(folder).get("configs") or () if isinstance(item, dict)]
    named = {str(item.get("config_name", "default")): item for item in entries}
    entry = named.get(config or "default")
    if entry is None and not config:
        chosen = entries if len(entries) == 1 else [e for e in entries if _true(e.get("default"))]
        entry = chosen[0] if chosen else None
    if entry is None or "data_files" not in entry:
        return None
    base = PurePosixPath(str(entry.get("data_dir") or ""))
    found: dict[str, list[str]] = {}
    for split, patterns in _data_files(entry["data_files"]):
        found.setdefault(split, []).extend(str(base / pattern) for pattern in patterns)
    return found


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def _data_files(value: Any) -> Iterator[tuple[str, list[str]]]:
    """Splits and patterns of a card's `data_files`: text, a list of texts, or splits with paths."""
    if isinstance(value, dict):
        value = [{"split": split, "path": path} for split, path in value.items()]
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            paths = item.get("path", [])
            yield str(item.get("split", "train")), paths if isinstance(paths, list) else [paths]
        else:
            yield "train", [str(item)]


def _matching(folder: Path, pattern: str) -> Iterable[Path]:
    parts = PurePosixPath(pattern).parts
    if not parts or pattern.startswith("/") or ".." in parts or "://" in pattern:
        raise DataError(
            f"the card names files outside of the copy: '{pattern}'", where=str(folder / CARD)
        )
    literal = folder / pattern
    return [literal] if literal.is_file() else folder.glob(pattern)


# ------------------------------------------------------------------------------------ file names


def _by_name(
    folder: Path, files: Sequence[Path], config: str, split: str, *, varies: bool
) -> list[Path]:
    """The files that a split's name says, below a folder that is called like the configuration."""
    if folder / split in files:
        return [folder / split]
    base = folder
    if config and (folder / config).is_dir():
        base = folder / config
    elif config and varies:
        return []  # files that name no configuration could be those of any language
    inside = [path for path in files if path.is_relative_to(base)]
    named = {path: _split_names(path.relative_to(base)) for path in inside}
    exact = [path for path in inside if split in named[path]]
    if exact:
        return exact
    words = _WORDS.get(split, {split})
    loose = [path for path in inside if words & _words(named[path])]
    every = set().union(*_WORDS.values())
    unnamed = split == "train" and not any(every & _words(names) for names in named.values())
    return inside if unnamed else loose


def _split_names(path: Path) -> tuple[str, ...]:
    """Names that may say the split: the file's without its shard, and the folders'."""
    return _SHARD.sub("", path.name.partition(".")[0]), *path.parent.parts


def _words(names: Iterable[str]) -> set[str]:
    return {word for name in names for word in re.split(r"[-._ 0-9]+", name.lower())}


# ------------------------------------------------------------------------------------------ rows


def records(path: Path) -> Iterator[Record]:
    """The rows of one file; cells of CSV and TSV are text, quotes in TSV are characters.

    Raises:
        DataError: The file is broken or of another kind.
    """
    kind = path.suffix.lower()
    if path.suffix in PACKED and not path.stem.endswith(".parquet"):
        kind = Path(path.stem).suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path)
    elif kind in (".jsonl", ".json"):
        yield from json_lines(path)
    elif kind == ".txt":
        yield from ((row, {"text": line}) for row, line in enumerate(read_lines(path), 1))
    elif kind in (".csv", ".tsv"):
        yield from _table(path, kind)
    else:
        read_text(path)
        raise DataError(
            f"files of kind {kind} are not read",
            where=str(path),
            hint="Unpack it, or fetch the data set's parquet files.",
        )


def _table(path: Path, kind: str) -> Iterator[Record]:
    options = TableOptions(header=True)
    if kind == ".csv":
        options = TableOptions(header=True, delimiter=",", quoting="csv")
    rows = cells_of(path, options)
    _, names = next(rows)
    require_distinct(names, path)
    for row, cells in rows:
        if len(cells) != len(names):
            raise other_width(cells, len(names), path, row)
        yield row, dict(zip(names, cells, strict=True))


def _parquet(path: Path) -> Iterator[Record]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    row = 0
    try:
        with ParquetFile(path) as file:
            require_distinct(file.schema_arrow.names, path)
            for batch in file.iter_batches():
                for record in batch.to_pylist():
                    row += 1
                    yield row, record
    except UnicodeDecodeError as error:
        raise DataError(
            f"a text after row {row} is not UTF-8: byte 0x{error.object[error.start]:02x}",
            where=str(path),
            hint="Download it again.",
        ) from None
    except (ArrowException, OSError) as error:
        if path.read_bytes()[:4] != b"PAR1":
            read_text(path)  # says so when it is a web page or a pointer
        what = " ".join(str(error).split())[:200]
        raise DataError(
            f"not a whole parquet file: {what}", where=str(path), hint="Download it again."
        ) from None


# --------------------------------------------------------------------------------- class labels


def class_names(folder: Path, config: str, path: Path) -> dict[str, list[str]]:
    """Column to the names of its class labels, from a parquet file itself or from the card."""
    features: Any = _parquet_features(path) if path.suffix.lower() == ".parquet" else {}
    if not features:
        infos = _card(folder).get("dataset_info") or []
        entries = infos if isinstance(infos, list) else [infos]
        named = {str(e.get("config_name", "default")): e for e in entries if isinstance(e, dict)}
        entry = named.get(config or "default") or (entries[0] if len(entries) == 1 else {})
        listed = entry.get("features") or [] if isinstance(entry, dict) else []
        items = [item for item in listed if isinstance(item, dict) and "name" in item]
        features = {str(item["name"]): item for item in items}
    found = {column: _class_names(feature) for column, feature in features.items()}
    return {column: names for column, names in found.items() if names}


def _parquet_features(path: Path) -> Any:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        stored = (read_schema(path).metadata or {}).get(b"huggingface", b"{}")
        return json.loads(stored).get("info", {}).get("features", {})
    except (ArrowException, OSError, ValueError, AttributeError):
        return {}  # reading the rows says what is wrong


def _class_names(feature: Any) -> list[str]:
    """Names of a class label, or of the ones in a list, as parquet files or cards describe them."""
    if isinstance(feature, list):
        feature = feature[0] if feature else None
    if not isinstance(feature, dict):
        return []
    names = feature.get("names")
    if isinstance(names, list):
        return [str(name) for name in names]
    if isinstance(names, dict):
        numbers = [str(number) for number in range(len(names))]
        by_number = {str(number): str(name) for number, name in names.items()}
        return [by_number[number] for number in numbers] if {*numbers} == {*by_number} else []
    inner = (feature.get(key) for key in ("dtype", "class_label", "feature", "sequence", "list"))
    return next((found for found in map(_class_names, inner) if found), [])


def named(value: Any, names: Sequence[str]) -> Any:
    """A class label by its name, in lists too; -1 marks a missing label and is no position."""
    if isinstance(value, list | tuple):
        return [named(item, names) for item in value]
    text = text_of(value)
    at = int(text) if text.isdecimal() and not isinstance(value, bool) else len(names)
    return names[at] if at < len(names) and value not in names else value
