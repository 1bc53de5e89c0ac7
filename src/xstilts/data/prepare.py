"""What data is where, getting it ready, and a first look at it. Nothing here prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.located import (
    Located,
    languages_of,
    locate,
    located_languages,
    not_found,
    require_language,
    split_names,
    tried,
)
from xstilts.data.pairs import load_pair
from xstilts.data.several import named_folder
from xstilts.data.sources import load_rows
from xstilts.errors import NotFoundError, XstiltsError
from xstilts.files import sha256_file

if TYPE_CHECKING:
    from xstilts.data.conversion import Converted

SIDES = ("source", "target", "gold", "order")
MANY = 5
"""Names or places that a message lists."""


@dataclass(frozen=True)
class Presence:
    """A split of a task in a language, where it is or could be had from.

    Attributes:
        place: The data folder's names for the files, or `hub repo@revision`.
        files: Files in reading order; empty when the rows are only on a hub.
        num_bytes: Size of the files together.
        rows: Rows, sentences, questions or gold pairs; None when not counted.
        dropped: Reason to number of rows that the data set says to leave out.
        sha256: File to checksum; empty when not asked for.
        remote: The rows have to come from a hub.
        broken: Why the rows cannot be read, and where; empty when they can or were not read.
    """

    task: str
    split: str
    language: str
    reader: str
    place: str
    license: str
    files: tuple[Path, ...] = ()
    num_bytes: int = 0
    rows: int | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    remote: bool = False
    broken: str = ""


@dataclass(frozen=True)
class Shown:
    """The first rows of a split, and where they come from.

    Attributes:
        examples: The first rows.
        refused: Sources that exist but are not used, with the reason.
    """

    presence: Presence
    examples: list[Example]
    refused: dict[str, str]


def list_data(
    tasks: Sequence[TaskSpec], root: Path | None, *, count: bool = False, checksums: bool = False
) -> Iterator[Presence]:
    """Every split and language of the tasks that is below `root`, one after the other.

    Args:
        tasks: What to look for.
        root: The data folder.
        count: Read the rows and count them; slow for large files. What is broken is listed as such.
        checksums: Give each file's sha256.
    """
    for task in tasks:
        for split in split_names(task):
            for language, there in located_languages(task, split, root).items():
                found = look(task, split, language, root, checksums=checksums, there=there)
                try:
                    rows, dropped = _count(task, split, language, root) if count else (None, {})
                    yield replace(found, rows=rows, dropped=dropped)
                except XstiltsError as error:
                    yield replace(found, broken=" ".join(f"{error.what} ({error.where})".split()))


def places(task: TaskSpec, root: Path | None) -> list[str]:
    """Where rows of a task are looked for: its own split, in its first language."""
    side = ".source" if ROW_FORMATS.get(task.format).TWO_SIDED else ""
    return list(dict.fromkeys(tried(task, task.eval_split + side, task.languages[0], root)))


def no_data(tasks: Sequence[TaskSpec], root: Path | None, verb: str) -> NotFoundError:
    """An error that says that tasks have no data, and where that was looked for, to raise."""
    names = ", ".join(task.name for task in tasks) if len(tasks) <= MANY else "any task"
    shown = [place for task in tasks for place in places(task, root)]
    more = f"\n  … {len(shown) - MANY} more" if len(shown) > MANY else ""
    looked = "\n".join(f"  {place}" for place in shown[:MANY])
    return NotFoundError(
        f"no data of {names} to {verb}",
        where=f"{named_folder(root) if root else 'no data folder'}: looked for\n{looked}{more}",
        hint="Check --data and XSTILTS_DATA; `xstilts data ls` lists what is there.",
    )


def look(
    task: TaskSpec,
    split: str,
    language: str,
    root: Path | None,
    *,
    count: bool = False,
    checksums: bool = False,
    there: Sequence[Located] = (),
) -> Presence:
    """Where one split in one language is; `there` are its rows, where they were found already.

    Raises:
        NotFoundError: It is nowhere.
        DataError: `count` is set and a file is broken.
    """
    found = _located(task, split, language, root, there)
    if not found:
        raise not_found(task, split, language, root)
    first = found[0]
    files = tuple(path for item in found for path in item.files if path.is_file())
    rows, dropped = _count(task, split, language, root) if count else (None, {})
    return Presence(
        task=task.name,
        split=split,
        language=language,
        reader=first.source.reader or "parts",
        place=_place(found, root),
        license=task.license,
        files=files,
        num_bytes=sum(path.stat().st_size for path in files),
        rows=rows,
        dropped=dropped,
        sha256={_shown(path, root): sha256_file(path) for path in files} if checksums else {},
        note=first.source.note,
        remote=any(item.remote for item in found),
    )


def _located(
    task: TaskSpec, split: str, language: str, root: Path | None, there: Sequence[Located] = ()
) -> list[Located]:
    two_sided = ROW_FORMATS.get(task.format).TWO_SIDED
    keys = [f"{split}.{side}" for side in SIDES] if two_sided else [split]
    needed = 2 if two_sided else 1
    if not there:
        there = [item for key in keys[:needed] if (item := locate(task, key, language, root))]
    if len(there) < needed:
        return []
    more = (locate(task, key, language, root) for key in keys[needed:])
    return [*there, *(item for item in more if item is not None)]


def _count(
    task: TaskSpec, split: str, language: str, root: Path | None, *, offline: bool = False
) -> tuple[int, Mapping[str, int]]:
    if ROW_FORMATS.get(task.format).TWO_SIDED:
        return len(load_pair(task, language, root, split, offline=offline).gold), {}
    loaded = load_rows(task, split, language, root, offline=offline)
    return len(loaded.examples), loaded.dropped


def _place(found: Sequence[Located], root: Path | None) -> str:
    hub = found[0].source.hub
    if found[0].remote and hub is not None:
        return f"hub {hub.repo}@{hub.revision[:12]}"
    names = dict.fromkeys(_shown(path, root) for item in found for path in item.files)
    return ", ".join(names) or "hub"


def _shown(path: Path, root: Path | None) -> str:
    return path.as_posix().removeprefix(f"{root.as_posix()}/") if root else str(path)


def prepare(
    task: TaskSpec,
    root: Path | None,
    *,
    raw_dir: Path | None = None,
    languages: Sequence[str] = (),
    splits: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Presence | Converted]:
    """Make a task's rows ready: convert original files, or fetch what a hub has; read it all.

    Args:
        task: What to prepare.
        root: The data folder. With `raw_dir`, `root/<task>` and `root/labels/<task>` are written.
        raw_dir: Original files or archives to convert into XTREME's layout first; nothing is
            fetched then.
        languages: Only these; by default all of the task's and what it trains on.
        splits: Only these; by default all that some source has.
        offline: Fetch nothing.

    Raises:
        NotFoundError: A split asked for by name is nowhere.
        OfflineError: It is only on a hub, and `offline` is set.
        DataError: A file is broken.
        UsageError: `root/<task>` already holds files, or there is no `root` to convert into.
    """
    if raw_dir is not None and root is not None:
        from xstilts.data.conversion import convert  # which has a reader of each original form

        yield convert(task.name, raw_dir, root / task.name, root / "labels" / task.name)
        offline = True
    codes = list(languages) or languages_of(task)
    for code in languages:
        require_language(task, code)
    for split in list(splits) or split_names(task):
        for language in codes:
            found = _located(task, split, language, root)
            unreachable = offline and any(item.remote for item in found)
            if splits and languages and (unreachable or not found):
                _count(task, split, language, root, offline=True)  # says what is wrong
            if found and not unreachable:
                yield look(task, split, language, root, count=True)


def require_rows(
    task: TaskSpec,
    root: Path | None,
    *,
    languages: Sequence[str] = (),
    splits: Sequence[str] = (),
    offline: bool = False,
) -> None:
    """Read a split in a language, the task's own where none is asked for.

    Raises:
        NotFoundError: It is nowhere; every place that was tried is listed.
        OfflineError: It is only on a hub, and `offline` is set.
        DataError: A file is broken.
    """
    split = (*splits, task.eval_split)[0]
    _count(task, split, (*languages, *languages_of(task))[0], root, offline=offline)


def show(task: TaskSpec, split: str, language: str, root: Path | None, *, limit: int = 3) -> Shown:
    """Where a split is, its first rows, and the sources that are refused and why.

    Raises:
        NotFoundError: It is nowhere.
        DataError: A file is broken.
    """
    presence = look(task, split, language, root)
    if ROW_FORMATS.get(task.format).TWO_SIDED:
        pair = load_pair(task, language, root, split)
        examples = [row for s, t in pair.gold[:limit] for row in (pair.source[s], pair.target[t])]
    else:
        examples = list(islice(load_rows(task, split, language, root).examples, limit))
    refused = {
        (source.hub.repo if source.hub else source.reader): source.refused
        for source in task.sources
        if source.refused
    }
    return Shown(presence, examples, refused)
