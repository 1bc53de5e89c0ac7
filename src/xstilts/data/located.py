"""Which source of a task has the rows of a split in a language, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xstilts.config.hub_models import no_network
from xstilts.config.load import load_task, spec_names
from xstilts.config.specs import HubSource, SourceSpec, SuiteSpec, TaskSpec
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.hub_copy import CARD, split_files
from xstilts.data.hub_fetch import cached
from xstilts.data.languages import called
from xstilts.data.layout import expand, filled_paths, templates
from xstilts.data.several import named_folder
from xstilts.data.world import task_in_world
from xstilts.errors import ConfigError, DataError, NotFoundError, OfflineError, Problem

_LABEL_KEYS = (".labels", ".gold", ".order")


@dataclass(frozen=True, slots=True)
class Located:
    """A source of a task that has a split in a language.

    Attributes:
        paths: Files in reading order; for a hub data set its local folder, or nothing.
        copied: Of a local copy of a hub data set, the files of the split and the card.
        labels: Files with the labels, where those live apart from the rows.
        parts: For a source made of other tasks, where each of those is.
        remote: The rows have to come from a hub.
    """

    task: TaskSpec
    split: str
    language: str
    source: SourceSpec
    paths: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    parts: tuple[Located, ...] = ()
    remote: bool = False
    copied: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of it, label files and those of parts included."""
        inner = (path for part in self.parts for path in part.files)
        return (*(self.copied or self.paths), *self.labels, *inner)


def locate(task: TaskSpec, split: str, language: str, root: Path | None) -> Located | None:
    """The first source of the task whose files exist below `root`, else the first on a hub.

    Returns None when there is neither; `tried` then lists the paths.

    Raises:
        UsageError: The language code has characters that no code has.
    """
    for source in _usable(task, language):
        if source.parts:
            found = _parts(task, source, split, language, root)
        elif root is not None:
            found = _local(task, source, split, language, root)
        else:
            found = None
        if found is not None and not found.remote:
            return found
    for source in _usable(task, language):
        if source.parts:
            found = _parts(task, source, split, language, root)
            if found is not None:
                return found
        if source.hub is not None and _on_hub(task, source, split, language):
            return Located(task, split, language, source, remote=True)
    return None


def require_located(
    task: TaskSpec, key: str, language: str, root: Path | None, *, offline: bool
) -> Located:
    """As `locate`, for rows that are needed; nothing is read.

    Args:
        task: Whose rows.
        key: What sources call them, see `row_key`.
        language: A code.
        root: The data folder.
        offline: Refuse what only a hub has.

    Raises:
        NotFoundError: The task has no such language, or no source has them; every place that was
            tried is listed.
        NetworkError: Only a hub has them, and it does not answer, or must not be asked.
    """
    located = locate(task, key, language, root)
    if located is None or located.remote:
        require_language(task, language)
    if located is None:
        raise not_found(task, key, language, root)
    closed = no_network(offline) if located.remote else None
    if closed is not None and (isinstance(closed, OfflineError) or not _is_cached(located)):
        nowhere = not_found(task, key, language, root)
        raise type(closed)(
            f"task {task.name}, split '{key}' in '{language}' is only on a hub, and {closed.what}",
            where=nowhere.where,
            hint=nowhere.hint,
        )
    return located


def _is_cached(located: Located) -> bool:
    """Whether the hub's cache on this machine has something of every data set that is remote."""
    if located.parts:
        return all(not part.remote or _is_cached(part) for part in located.parts)
    return located.source.hub is not None and cached(located.source.hub) is not None


def require_language(task: TaskSpec, language: str) -> None:
    """Refuse a language that the task does not have.

    Raises:
        NotFoundError: It has none of that code; the nearest ones are shown.
    """
    known = [*languages_of(task), *task.more_languages]
    if language not in known:
        hint = called(language, known)
        raise NotFoundError.named(f"language of task {task.name}", language, known, hint=hint)


def _usable(task: TaskSpec, language: str) -> Iterator[SourceSpec]:
    for source in task.sources:
        if not source.refused and (not source.languages or language in source.languages):
            yield source


def _local(
    task: TaskSpec, source: SourceSpec, split: str, language: str, root: Path
) -> Located | None:
    if source.hub is not None and not source.files:
        return _copy(task, source, split, language, root / source.hub.repo)
    if not _serves(task, source, split, language):
        return None
    paths = _existing(task, source, split, language, root)
    if not paths:
        return None
    labels = _existing(task, source, f"{split}.labels", language, root)
    return Located(task, split, language, source, paths, labels)


def _copy(
    task: TaskSpec, source: SourceSpec, split: str, language: str, folder: Path
) -> Located | None:
    """A local copy of a hub data set, when it has files of the split; a script is never run."""
    if not folder.is_dir() or not _on_hub(task, source, split, language):
        return None
    found = Located(task, split, language, source, (folder,))
    try:
        files = split_files(folder, task, source, split, language)
    except DataError:
        return found  # reading it says what is wrong
    if not files:
        return found if (folder / f"{folder.name}.py").is_file() else None
    card = [folder / CARD] if (folder / CARD).is_file() else []
    return replace(found, copied=(*files, *card))


def _existing(
    task: TaskSpec, source: SourceSpec, key: str, language: str, root: Path
) -> tuple[Path, ...]:
    """The files of a key: all of its paths, or for labels and gold the first that exists."""
    filled = filled_paths(task, source, key, language)
    if not key.endswith(_LABEL_KEYS):
        return expand(root, filled)
    found = (expand(root, [path]) for path in filled)
    return next((paths for paths in found if paths), ())


def _on_hub(task: TaskSpec, source: SourceSpec, split: str, language: str) -> bool:
    """Whether the hub data set has the split; one naming no language is in the source's only."""
    hub: HubSource | None = source.hub
    if split.endswith(_LABEL_KEYS):
        return False  # on a hub labels stand in the rows
    if hub is None or (hub.splits and split.partition(".")[0] not in hub.splits):
        return False
    named = (hub.config, *hub.splits.values())
    return _by_language(source, named) or language in _unnamed_languages(task, source)


def _serves(task: TaskSpec, source: SourceSpec, split: str, language: str) -> bool:
    """Whether the split's files hold the language: named in the path, or the only one there is."""
    named = templates(source, split)
    if split.endswith((".source", ".target", ".gold", ".order")):
        return True
    return _by_language(source, named) or language in _unnamed_languages(task, source)


def _by_language(source: SourceSpec, named: Iterable[str]) -> bool:
    by_id = str(source.options.get("id_language", "")).lower() == "true"
    named = (*named, *_filters(source), *map(str, source.columns.values()))
    return by_id or any("{" in text for text in named)


def _unnamed_languages(task: TaskSpec, source: SourceSpec) -> list[str]:
    """The languages of files that name none."""
    if source.languages:
        return source.languages
    return task.languages if len(task.languages) == 1 else [task.source_language]


def _filters(source: SourceSpec) -> list[str]:
    filters = source.options.get("filter", {})
    return [str(value) for value in filters.values()] if isinstance(filters, dict) else []


def _parts(
    task: TaskSpec, source: SourceSpec, split: str, language: str, root: Path | None
) -> Located | None:
    found = []
    if split != "train" and any("/" in part for part in source.parts):
        return None  # parts that name their split make up training rows
    for part in source.parts:
        name, _, part_split = part.partition("/")
        if name == task.name:
            problem = Problem("sources.parts", f"task '{name}' is a part of itself")
            raise ConfigError(f"task {task.name}", [problem])
        of_part = task_in_world(load_task(name), root)
        located = locate(of_part, part_split or split, language, root)
        if located is None:
            return None
        found.append(located)
    remote = any(part.remote for part in found)
    return Located(task, split, language, source, parts=tuple(found), remote=remote)


def tried(task: TaskSpec, split: str, language: str, root: Path | None) -> list[str]:
    """Every place where `locate` looks, for the message when it finds nothing.

    Of several data folders those below the first are named: it is the one to put files into.
    """
    root, places = root and named_folder(root), []
    for source in task.sources:
        if source.refused:
            places.append(f"{source.reader}: not used: {source.refused}")
        elif source.parts:
            for part in source.parts:
                name, _, part_split = part.partition("/")
                places += tried(load_task(name), part_split or split, language, root)
        elif source.languages and language not in source.languages:
            continue
        elif source.hub is not None and not source.files:
            base = split.partition(".")[0]
            known = base in (source.hub.splits or [base])
            if root is not None:
                places.append(str(root / source.hub.repo))
            places += [f"hub {source.hub.repo}" + ("" if known else f" (no split '{split}')")]
        else:
            paths = filled_paths(task, source, split, language)
            places += [str(root / path) if root else path for path in paths]
    return places


def not_found(task: TaskSpec, split: str, language: str, root: Path | None) -> NotFoundError:
    """An error that lists every place that was tried."""
    places = list(dict.fromkeys(tried(task, split, language, root)))
    looked = "\n".join(f"  {place}" for place in places) or "  (no source has this split)"
    hint = "Put one of them there, or choose another folder with --data."
    if root is None:
        hint = "Name the folder with the files: --data DIR or XSTILTS_DATA."
    elif "." not in split:
        others = [
            name
            for name in split_names(task)
            if name != split and _is_local(locate(task, row_key(task, name), language, root))
        ]
        if others:
            # Only training asks for training rows, and has no --split to choose others.
            choice = f" (--split {others[-1]})" if split != "train" else ""
            hint = f"These splits are there: {', '.join(others)}{choice}."
    return NotFoundError(
        f"task {task.name} has no rows for split '{split}' in '{language}'",
        where=f"looked for\n{looked}",
        hint=hint,
    )


def row_key(task: TaskSpec, split: str) -> str:
    """What sources call the rows of a split: of a bitext, those of its foreign side."""
    return f"{split}.source" if ROW_FORMATS.get(task.format).TWO_SIDED else split


def _is_local(found: Located | None) -> bool:
    return found is not None and not found.remote


def languages_of(task: TaskSpec) -> list[str]:
    """The languages that a task has rows in: its own and what it trains on.

    Retrieval trains on nothing: its source language is the side that sentences are paired with.
    """
    if ROW_FORMATS.get(task.format).TWO_SIDED:
        return list(task.languages)
    return list(dict.fromkeys([*task.languages, task.source_language]))


def available_languages(
    task: TaskSpec, split: str, root: Path | None, *, remote: bool = False
) -> list[str]:
    """The task's languages (and what it trains on) whose split is below `root`, in task order.

    With `remote` those that a hub has count, too.
    """
    return list(located_languages(task, split, root, remote=remote))


def located_languages(
    task: TaskSpec, split: str, root: Path | None, *, remote: bool = False
) -> dict[str, list[Located]]:
    """The languages that `available_languages` gives, to where they are, both sides of a bitext."""
    keys = [split]
    if ROW_FORMATS.get(task.format).TWO_SIDED:
        keys = [f"{split}.source", f"{split}.target"]
    found = {}
    for code in languages_of(task):
        located = [item for key in keys if (item := locate(task, key, code, root))]
        if len(located) == len(keys) and all(remote or not item.remote for item in located):
            found[code] = located
    return found


def data_tasks(names: Sequence[str], suite: SuiteSpec | None, root: Path | None) -> list[TaskSpec]:
    """Tasks in every language that their data has, or in those of a suite; all where none is named.

    Raises:
        NotFoundError: There is no such task.
    """
    known = suite.tasks if suite else spec_names("tasks")
    specs = [load_task(name) for name in names or known]
    if suite:
        specs = [suite.of(spec) for spec in specs]
    every = [spec.model_copy(update={"languages": spec.every_language}) for spec in specs]
    return [task_in_world(spec, root) for spec in every]


def tasks_with_data(suite: SuiteSpec, root: Path | None) -> tuple[list[str], list[str]]:
    """The tasks of a suite that have data to evaluate on, and those that have none."""
    there: list[str] = []
    absent: list[str] = []
    for name in suite.tasks:
        task = task_in_world(suite.of(load_task(name)), root)
        on_hub = root is None and any(source.hub for source in task.sources)
        found = on_hub or available_languages(task, task.eval_split, root)
        (there if found else absent).append(name)
    return there, absent


def split_names(task: TaskSpec) -> list[str]:
    """The splits that any source of the task has, sides and label files aside."""
    names: dict[str, None] = {}
    for source in task.sources:
        keys = [*source.files, *(source.hub.splits if source.hub else ())]
        short = [task.eval_split if key in ("source", "target") else key for key in keys]
        names.update(dict.fromkeys(key.partition(".")[0] for key in short if key != "gold"))
        for part in source.parts:
            name, _, part_split = part.partition("/")
            names.update(dict.fromkeys(["train"] if part_split else split_names(load_task(name))))
    return list(names)
