"""Rows of a task: found below a data folder or on a hub, read, checked, and cut to size."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.data.labels import attach_labels
from xstilts.data.layout import fill, known_as
from xstilts.data.located import Located as Located
from xstilts.data.located import available_languages as available_languages
from xstilts.data.located import locate as locate
from xstilts.data.located import require_located as require_located
from xstilts.data.once import once
from xstilts.data.readers import READERS
from xstilts.data.rows import Dropped, chosen_rows, options_of
from xstilts.data.world import task_in_world as task_in_world
from xstilts.errors import DataError, UsageError

_SLICE = re.compile(r"([^\[\]]*)(?:\[:([1-9][0-9]*)\])?")


def sliced(split: str) -> tuple[str, int]:
    """`test[:100]` as the split and how many of its first rows count; 0 for all of them.

    Raises:
        UsageError: What stands in brackets is no such number.
    """
    match = _SLICE.fullmatch(split)
    if match is None:
        raise UsageError(f"no split '{split}'", hint="Its first 100 rows are test[:100].")
    return match[1], int(match[2] or 0)


def first_rows(split: str, limit: int) -> str:
    """The name of a split's first rows, such as `test[:100]`; the split itself for 0."""
    return f"{split}[:{limit}]" if limit else split


def deciding_files(located: Located) -> list[Path]:
    """What decides the rows of a source: its files, and the code that reads them.

    A folder stands for what only a hub has, since nothing can be known of that.
    """
    if located.remote:
        return [Path()]
    readers = [READERS.get(part.source.reader) for part in (located.parts or [located])]
    code = [getattr(reader, "__file__", None) for reader in readers]
    return [*located.files, *(Path(path) for path in code if path)]


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """Rows and how many were left out.

    Attributes:
        dropped: Reason to number of rows that the data set says to leave out.
    """

    examples: list[Example]
    dropped: Mapping[str, int]
    located: Located


def load(
    task: TaskSpec,
    split: str,
    language: str,
    root: Path | None,
    *,
    offline: bool = False,
    limit: int = 0,
    seed: int = 42,
) -> list[Example]:
    """The rows of a split in a language, in file order, each with its label where there is one.

    `root` is a folder with original files or copies of hub data sets, None means the hub. A split
    such as `test[:100]` is its first rows (see `sliced`); `limit` keeps at most that many rows, the
    same nested subset for a seed (see `subset`).

    Raises:
        NotFoundError: No source has them; every place that was tried is listed.
        OfflineError: Only a hub has them.
        DataError: A file is broken; file and row are named.
    """
    rows = load_rows(task, split, language, root, offline=offline).examples
    return subset(rows, limit, seed)


def load_rows(
    task: TaskSpec, split: str, language: str, root: Path | None, *, offline: bool = False
) -> LoadedRows:
    """Like `load`, with the number of rows left out and where they came from."""
    split, first = sliced(split)
    located = require_located(task, split, language, root, offline=offline)
    examples, dropped = read_located(located)
    if split == "train" or located.source.options.get("id_language"):
        check_source_language(examples, task, language)
    return LoadedRows(examples[: first or None], dropped, located)


def read_located(located: Located) -> tuple[list[Example], dict[str, int]]:
    """The rows of a located source, and reason to number of rows left out.

    Raises:
        DataError: A file is broken, has no usable row, or repeats an id.
    """
    if located.parts:
        return _read_parts(located)
    key = ("rows", located.task.model_dump_json(), located.split, located.language, *located.files)
    return once((*key, located.source.model_dump_json()), lambda: _read(located))


def _read(located: Located) -> tuple[list[Example], dict[str, int]]:
    task, language = located.task, located.language
    source = _with_columns_of(language, located)
    reader = READERS.get(source.reader)
    examples: list[Example] = []
    dropped: Counter[str] = Counter()
    for row in reader.read(located.paths, source, task, language, located.split):
        if isinstance(row, Dropped):
            dropped[row.reason] += 1
        else:
            examples.append(row)
    split, _, _side = located.split.partition(".")  # both sides of a bitext are cut alike
    wanted = options_of(reader.Options, source, task).rows.get(split)
    if wanted:
        examples = [examples[at] for at in chosen_rows(wanted, len(examples))]
    if not examples:
        where = ", ".join(str(path) for path in located.paths) or source.reader
        raise DataError("no usable row", where=where)
    for path in located.labels:
        examples = attach_labels(examples, path, source, task, language)
    _require_all_or_none(examples)
    repeated = str(source.options.get("repeated_ids", "error"))
    return _unique(examples, located, number=repeated == "number"), dict(dropped)


def _with_columns_of(language: str, located: Located) -> SourceSpec:
    """The source, `{code}` and the like in the names of columns filled."""
    source = located.source
    columns = {
        field: fill(name, located.task, source, language) if isinstance(name, str) else name
        for field, name in source.columns.items()
    }
    return source.model_copy(update={"columns": columns})


def _require_all_or_none(examples: Sequence[Example]) -> None:
    """Refuse rows of which only some have gold."""
    lacking = [example for example in examples if example.target is None]
    if lacking and len(lacking) < len(examples):
        raise DataError(
            f"{len(lacking)} of {len(examples)} rows have no label, the first is '{lacking[0].id}'",
            where=lacking[0].place,
            hint="Either all rows have gold answers or labels, or none has (a withheld test set).",
        )


def _read_parts(located: Located) -> tuple[list[Example], dict[str, int]]:
    examples: list[Example] = []
    dropped: Counter[str] = Counter()
    for part in located.parts:
        rows, left_out = read_located(part)
        dropped.update(left_out)
        name = part.task.name
        if len({p.task.name for p in located.parts}) < len(located.parts):
            name = f"{name}/{part.split}"
        examples += [replace(row, id=f"{name}:{row.id}") for row in rows]
    return examples, dict(dropped)


def _unique(examples: list[Example], located: Located, *, number: bool) -> list[Example]:
    seen: dict[str, Example] = {}
    result = []
    for example in examples:
        if example.id in seen:
            if not number:
                raise DataError(
                    f"id '{example.id}' repeats (first at {seen[example.id].place})",
                    where=f"{', '.join(str(path) for path in located.paths)} at {example.place}",
                    hint="Ids are unique within a split and language.",
                )
            count = 2
            while f"{example.id}#{count}" in seen:
                count += 1
            example = replace(example, id=f"{example.id}#{count}")
        seen[example.id] = example
        result.append(example)
    return result


def check_source_language(examples: Iterable[Example], task: TaskSpec, language: str) -> None:
    """Refuse rows whose id names another language, as in TyDiQA's file of nine languages.

    Ids that begin with no language of the task are not judged.

    Raises:
        DataError: A row's id begins with the name of another language of the task.
    """
    names = {
        name: code
        for code in dict.fromkeys([*task.every_language, task.source_language])
        for name in known_as(task, code)
    }
    for example in examples:
        prefix, dash, _ = example.id.partition("-")
        found = names.get(prefix.lower(), language) if dash else language
        if found != language:
            raise DataError(
                f"a row of '{found}' among the rows of '{language}': id '{example.id}'",
                where=example.place,
                hint="Zero-shot training must see one language only: split the file by language.",
            )


def subset(examples: Sequence[Example], limit: int, seed: int) -> list[Example]:
    """At most `limit` rows in file order; a larger limit with the same seed only adds rows."""
    if limit <= 0 or limit >= len(examples):
        return list(examples)
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)  # noqa: S311  (sampling, no secret)
    return [examples[position] for position in sorted(order[:limit])]


def shuffled_labels(examples: Sequence[Example], seed: int) -> list[Example]:
    """The rows with their labels dealt out anew: a control whose text says nothing about the label.

    Labels move between rows, or for tagging between words; among choices only between rows with
    equally many choices. How often each label occurs stays the same.

    Raises:
        UsageError: The rows have no labels that could move (spans, unlabelled text).
    """
    groups: dict[int, list[int]] = {}
    tagged = all(isinstance(e.target, tuple) and _all_text(e.target) for e in examples)
    if not tagged and not all(isinstance(example.target, str) for example in examples):
        raise UsageError(
            "these rows have no labels to shuffle",
            hint="Classification, multiple choice and tagging have; spans and plain text have not.",
        )
    draw = random.Random(seed)  # noqa: S311  (sampling, no secret)
    if tagged:
        tags = [tag for example in examples for tag in example.target]
        draw.shuffle(tags)
        dealt = iter(tags)
        return [replace(e, target=tuple(next(dealt) for _ in e.target)) for e in examples]
    for position, example in enumerate(examples):
        groups.setdefault(len(example.fields.get("choices", ())), []).append(position)
    result = list(examples)
    for positions in groups.values():
        labels = [examples[position].target for position in positions]
        draw.shuffle(labels)
        for position, label in zip(positions, labels, strict=True):
            result[position] = replace(examples[position], target=label)
    return result


def _all_text(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def data_digest(examples: Iterable[Example]) -> str:
    """The sha256 over id, fields and target of the rows in order, as 64 hex digits."""
    rows = list(examples)
    # the rows are kept with their digest, so that no other row gets the id of one of them
    return once(("digest", *map(id, rows)), lambda: (_digest(rows), rows))[0]


def _digest(examples: Iterable[Example]) -> str:
    total = hashlib.sha256()
    for example in examples:
        value = {"id": example.id, "fields": dict(example.fields), "target": example.target}
        text = json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain
        )
        total.update(text.encode("utf-8") + b"\n")
    return total.hexdigest()


def _plain(value: Any) -> Any:
    assert isinstance(value, Answer)
    return asdict(value)
