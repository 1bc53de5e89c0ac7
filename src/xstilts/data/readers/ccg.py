"""CCG supertags: CCGbank's `.auto` derivations, or one sentence a line as `word|tag`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.readers import Rows
from xstilts.data.rows import Context, Dropped, DropRow, ReaderOptions, label_name, options_of
from xstilts.data.text import blank_split, id_prefixes, is_blank, place, read_lines, where
from xstilts.errors import DataError

_LEAF = re.compile(r"\(<L (\S+) \S+ \S+ (\S+) \S+>\)")
_ID = re.compile(r"ID=(\S+)")


class Options(ReaderOptions):
    """Options of CCG files.

    Attributes:
        layout: `auto` is CCGbank's `.auto`; `columns` has one sentence a line, words separated by
            blanks, each `word|tag` or `word|part of speech|tag`.
    """

    layout: Literal["auto", "columns"] = "columns"


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The sentences with one supertag a word.

    Raises:
        DataError: A line is no derivation, or a word has no tag.
    """
    del split
    options = options_of(Options, source, task)
    sentences = _auto if options.layout == "auto" else _columns
    for path, prefix in zip(paths, id_prefixes(paths), strict=True):
        context = Context(path, source, task, language, options)
        empty = True
        for row, name, pairs in sentences(path):
            empty = False
            spot = place(path, row)
            try:
                target = tuple(label_name(tag, context, row) for _, tag in pairs)
            except DropRow as drop:
                yield Dropped(spot, drop.reason)
                continue
            fields = {"words": tuple(word for word, _ in pairs)}
            row_id = name if options.layout == "auto" else f"{prefix}{name}"
            yield Example(row_id, language, fields, target, spot)
        if empty:
            raise DataError("the file has no sentences", where=str(path))


def _auto(path: Path) -> Iterator[tuple[int, str, list[tuple[str, str]]]]:
    name = ""
    for row, line in enumerate(read_lines(path), 1):
        match = _ID.match(line)
        if match:
            name = match[1]
            continue
        if is_blank(line):
            continue
        pairs = [(word, tag) for tag, word in _LEAF.findall(line)]
        if not pairs or len(pairs) != line.count("(<L "):
            raise DataError(
                "not a CCG derivation",
                where=where(path, row),
                hint="Leaves are written (<L category tag tag word category>).",
            )
        yield row, name or str(row), pairs
        name = ""


def _columns(path: Path) -> Iterator[tuple[int, str, list[tuple[str, str]]]]:
    for row, line in enumerate(read_lines(path), 1):
        pairs = []
        for item in blank_split(line):
            parts = item.split("|")
            # A word may itself be or hold a bar, so what follows the last one is the tag, and a
            # middle part is a part of speech only when all three are there.
            word = parts[0] if len(parts) == 3 and parts[0] else item.rpartition("|")[0]
            if len(parts) < 2 or not word or not parts[-1]:
                raise DataError(f"'{item}' is not word|tag", where=where(path, row))
            pairs.append((word, parts[-1]))
        if not pairs:
            raise DataError("the line is blank", where=where(path, row))
        yield row, str(row), pairs
