"""A data folder that declares its own languages: `world.json`, written by the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.config.specs import TaskSpec
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.text import read_json
from xstilts.errors import DataError

FILE = "world.json"


@dataclass(frozen=True, slots=True)
class WorldLanguages:
    """The languages of a data folder.

    Attributes:
        source_language: What zero-shot transfer starts from.
        languages: Code to its entry (`iso3`, `name`, `script`, `family`, `seen`), in order.
        tasks: Task name to the languages it has; tasks not listed have all of them.
    """

    source_language: str
    languages: dict[str, dict[str, Any]]
    tasks: dict[str, list[str]]


def read_world(root: Path | None) -> WorldLanguages | None:
    """The world that a data folder declares, or None when it is an ordinary folder.

    Raises:
        DataError: `world.json` is not what it should be.
    """
    path = root / FILE if root is not None else None
    if path is None or not path.is_file():
        return None
    data = read_json(path)
    try:
        languages = {entry["code"]: dict(entry) for entry in data["languages"]}
        tasks = {
            name: list(entry["languages"])
            for name, entry in data.get("tasks", {}).items()
            if "languages" in entry
        }
        world = WorldLanguages(data["source_language"], languages, tasks)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"not a world description: {error!r}", where=str(path)) from None
    unknown = {code for codes in tasks.values() for code in codes} - set(languages)
    if world.source_language not in languages or unknown:
        raise DataError(
            f"languages used but not declared: {sorted(unknown) or [world.source_language]}",
            where=str(path),
        )
    return world


def task_in_world(task: TaskSpec, root: Path | None) -> TaskSpec:
    """The task with the languages of the data folder, where that declares any.

    A task that the world does not list has all languages when it is only a target or plain text,
    and the source language otherwise; retrieval leaves the source language out, being the pivot.
    Row counts of the real data are dropped.
    """
    world = read_world(root)
    if world is None:
        return task
    codes = world.tasks.get(task.name)
    if codes is None and "target" not in task.roles and ROW_FORMATS.get(task.format).LABELLED:
        codes = [world.source_language]
    elif codes is None:
        codes = list(world.languages)
        if ROW_FORMATS.get(task.format).TWO_SIDED:
            codes.remove(world.source_language)
    plain: dict[str, Any] = {"languages": [], "codes": {}, "counts": {}}
    sources = [source.model_copy(update=plain) for source in task.sources]
    return task.model_copy(
        update={
            "languages": codes,
            "more_languages": [],
            "source_language": world.source_language,
            "counts": {},
            "sources": sources,
        }
    )
