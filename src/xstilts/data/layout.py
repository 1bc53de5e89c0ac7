"""From a path template of a source to the files that exist."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from pathlib import Path

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.languages import language as language_of
from xstilts.errors import NotFoundError, UsageError

_CODE = re.compile(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_WILD = re.compile(r"[*?\[]")


def language_names(code: str) -> tuple[str, str]:
    """ISO 639-3 code and English name of a language; the code itself where unknown."""
    try:
        known = language_of(code)
    except NotFoundError:
        return code, code
    return known.iso3 or code, known.name


def fill(template: str, task: TaskSpec, source: SourceSpec, language: str) -> str:
    """The template with `{language}`, `{code}`, `{iso3}`, … of a language put in.

    Raises:
        UsageError: The language code has characters that no code has, such as a slash.
    """
    for code in (language, task.source_language):
        if not _CODE.fullmatch(code):
            raise UsageError(f"'{code}' is not a language code", hint="Example: de, zh or qaa.")
    if "{" not in template:
        return template
    source_code = task.source_language
    values = {
        "language": lambda: language,
        "code": lambda: source.codes.get(language, language),
        "iso3": lambda: language_names(language)[0],
        "language_name": lambda: language_names(language)[1],
        "source": lambda: source_code,
        "source_code": lambda: source.codes.get(source_code, source_code),
        "source_iso3": lambda: language_names(source_code)[0],
        "source_name": lambda: language_names(source_code)[1],
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match.group)(), template)


def file_key(task: TaskSpec, source: SourceSpec, split: str) -> str:
    """The key of a split in `source.files`; `test.source` may be written `source` alone."""
    base, _, part = split.partition(".")
    short = part and base == task.eval_split and split not in source.files and part in source.files
    return part if short else split


def templates(source: SourceSpec, key: str) -> list[str]:
    """The path templates of a split (or `split.side`), in order; empty when there are none."""
    found = source.files.get(key, [])
    return [found] if isinstance(found, str) else list(found)


def filled_paths(task: TaskSpec, source: SourceSpec, key: str, language: str) -> list[str]:
    """The paths of a split below the data folder, wildcards unexpanded."""
    found = templates(source, file_key(task, source, key))
    return [fill(template, task, source, language) for template in found]


def expand(root: Path, patterns: Iterable[str]) -> tuple[Path, ...]:
    """The files that the patterns name, each pattern's in the order of their names.

    Returns nothing when one of the patterns has no file: half a source is no source.
    """
    found: list[Path] = []
    base = str(root)
    for pattern in patterns:
        matches = sorted(_matching(base, pattern), key=lambda path: (path.name, path.as_posix()))
        if not matches:
            return ()
        found += matches
    return tuple(found)


def _matching(base: str, pattern: str) -> list[Path]:
    """The files below `base` that a pattern names; plain functions, as thousands are looked for."""
    whole = os.path.join(base, pattern)  # noqa: PTH118
    if os.path.isfile(whole):  # noqa: PTH113
        return [Path(whole)]
    if not _WILD.search(pattern):
        return []
    if "**" in pattern:
        return [path for path in Path(base).glob(pattern) if path.is_file()]
    folders = [base]
    for part in pattern.split("/"):
        folders = [
            os.path.join(folder, name)  # noqa: PTH118
            for folder in folders
            for name in (_named(folder, part) if _WILD.search(part) else [part])
        ]
    return [Path(path) for path in folders if os.path.isfile(path)]  # noqa: PTH113


def _named(folder: str, pattern: str) -> list[str]:
    """The names in a folder that match; none where there is no such folder."""
    start = _WILD.split(pattern, maxsplit=1)[0]
    try:
        names = [name for name in os.listdir(folder) if name.startswith(start)]  # noqa: PTH208
    except OSError:
        return []
    return fnmatch.filter(names, pattern) if names else []


def known_as(task: TaskSpec, language: str) -> set[str]:
    """All names, lower-cased, that files or row ids may use for a language."""
    codes = {source.codes[language] for source in task.sources if language in source.codes}
    return {text.lower() for text in {language, *_known_names(language), *codes}}


def _known_names(language: str) -> tuple[str, ...]:
    try:
        known = language_of(language)
    except NotFoundError:
        return ()
    return *known.codes, known.name
