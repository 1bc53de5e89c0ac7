"""Rows of a task in another language, as `xstilts data translate` leaves them below a data folder.

<data>/translated/<task>/<language>/<split>.jsonl     one row a line, ids as in the source
<data>/translated/<task>/<language>/about.json        model, source language, kept share
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.data.text import json_lines, read_json
from xstilts.errors import DataError
from xstilts.files import write_json, write_text

FOLDER, ABOUT = "translated", "about.json"


def folder_of(task: TaskSpec, language: str, root: Path) -> Path:
    """Where the translation of a task into a language is kept."""
    return root / FOLDER / task.name / language


def find(task: TaskSpec, language: str, split: str, root: Path | None) -> Path | None:
    """The file with a translated split, or None."""
    if root is None:
        return None
    path = folder_of(task, language, root) / f"{split}.jsonl"
    return path if path.is_file() else None


def languages(task: TaskSpec, root: Path | None) -> list[str]:
    """The languages that a task was translated into."""
    if root is None:
        return []
    return sorted(path.parent.name for path in (root / FOLDER / task.name).glob(f"*/{ABOUT}"))


def model_of(path: Path) -> str:
    """What translated a file."""
    about = path.with_name(ABOUT)
    return str(read_json(about).get("model", "unknown")) if about.is_file() else "unknown"


def write(path: Path, rows: Sequence[Example]) -> None:
    """Write rows; a file appears whole or not at all."""
    lines = [json.dumps(_plain(row), ensure_ascii=False, sort_keys=True) for row in rows]
    write_text(path, "".join(f"{line}\n" for line in lines))


def describe(folder: Path, about: dict[str, Any]) -> None:
    """Write what is known of a translation beside it."""
    write_json(folder / ABOUT, about)


def read(path: Path) -> list[Example]:
    """The rows of a translated split.

    Raises:
        DataError: A line is no row, or there is none.
    """
    language = path.parent.name
    rows = []
    for number, value in json_lines(path):
        try:
            rows.append(_row(value, language, f"{path.name}:{number}"))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"no translated row: {error!r}", where=f"{path} at row {number}"
            ) from None
    if not rows:
        raise DataError("no row", where=str(path))
    return rows


def _plain(row: Example) -> dict[str, Any]:
    target: Any = row.target
    if isinstance(target, tuple) and target and isinstance(target[0], Answer):
        target = [{"text": answer.text, "start": answer.start} for answer in target]
    return {"id": row.id, "fields": dict(row.fields), "target": target}


def _row(value: dict[str, Any], language: str, place: str) -> Example:
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in value["fields"].items()}
    target: Any = value["target"]
    if isinstance(target, list):
        target = tuple(
            Answer(item["text"], item["start"]) if isinstance(item, dict) else item
            for item in target
        )
    return Example(str(value["id"]), language, fields, target, place)
