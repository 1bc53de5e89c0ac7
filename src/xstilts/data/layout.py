"""From a path template of a source to the files that exist."""

from __future__ import annotations

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
    iso3, name = language_names(language)
    source_iso3, source_name = language_names(task.source_language)
    values = {
        "language": language,
        "code": source.codes.get(language, language),
        "iso3": iso3,
        "language_name": name,
        "source": task.source_language,
        "source_code": source.codes.get(task.source_language, task.source_language),
        "source_iso3": source_iso3,
        "source_name": source_name,
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


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
        path = os.path.join(base, pattern)  # noqa: PTH118  (thousands are looked for)
        matches = [Path(path)] if os.path.isfile(path) else []  # noqa: PTH113
        wild = _WILD.search(pattern)
        fixed = os.path.dirname(pattern[: wild.start()]) if wild else ""  # noqa: PTH120
        if wild and not matches and os.path.isdir(os.path.join(base, fixed)):  # noqa: PTH112, PTH118
            matches = sorted(
                (path for path in root.glob(pattern) if path.is_file()),
                key=lambda path: (path.name, path.as_posix()),
            )
        if not matches:
            return ()
        found += matches
    return tuple(found)


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
