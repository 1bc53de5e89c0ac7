"""Plain text for masked language modelling, by language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.config.run import RunSpec
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.sources import available_languages, load, subset
from xstilts.data.text import read_lines
from xstilts.errors import DataError, NotFoundError, UsageError


def texts_of(
    run: RunSpec, task: TaskSpec, root: Path | None, *, offline: bool
) -> dict[str, list[Example]]:
    """Language to the lines that a run learns from.

    Args:
        run: Says which files or languages; else every language with text below `root` counts.
        task: Of masked language modelling.
        root: The folder with data.
        offline: Read from this machine only.

    Raises:
        NotFoundError: There is no text.
        DataError: A file is not UTF-8, or holds no text.
        UsageError: `--text` names no language.
    """
    texts = _text_files(run.mlm.text)
    if not texts:
        codes = run.mlm.languages or available_languages(task, "train", root)
        texts = dict.fromkeys(codes)
    if not texts:
        raise NotFoundError(
            "there is no text for masked language modelling",
            hint="Give files, --text sw=FILE, or put mlm/<language>.txt below the data folder.",
        )
    found = {}
    for language, path in texts.items():
        rows = (
            load(task, "train", language, root, offline=offline)
            if path is None
            else read_text(path, language)
        )
        found[language] = subset(rows, run.train.limit, run.train.seed)
    return found


def _text_files(entries: Sequence[str]) -> dict[str, Path | None]:
    files: dict[str, Path | None] = {}
    for entry in entries:
        language, equals, path = entry.partition("=")
        if not equals or not language or not path:
            raise UsageError(f"'{entry}' names no language", hint="Write --text sw=FILE.")
        files[language] = Path(path)
    return files


def read_text(path: Path, language: str) -> list[Example]:
    """One text a line, blank lines skipped.

    Raises:
        NotFoundError: There is no such file.
        DataError: It is not UTF-8, or holds no text.
    """
    if not path.is_file():
        raise NotFoundError(f"no text file {path}", hint="Check --text.")
    rows = [
        Example(str(number), language, {"text": line.strip()}, None, f"{path}:{number}")
        for number, line in enumerate(read_lines(path), 1)
        if line.strip()
    ]
    if not rows:
        raise DataError("the file holds no text", where=str(path))
    return rows
