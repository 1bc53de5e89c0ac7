"""One word a line, a blank line between sentences: XTREME's TSV, PAN-X, CoNLL NER, IOB2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.readers import Rows
from xstilts.data.rows import (
    Context,
    Dropped,
    DropRow,
    ReaderOptions,
    checked_word,
    label_name,
    options_of,
)
from xstilts.data.text import (
    blank_split,
    id_prefixes,
    is_blank,
    place,
    read_lines,
    where,
)
from xstilts.errors import DataError

Line = tuple[int, list[str]]
"""The 1-based row of a line and its cells; a line without cells ends a sentence."""


class Options(ReaderOptions):
    """Options of word-per-line files; `columns` gives `words` and `target` (default 0 and 1).

    Attributes:
        separator: `space` is any run of blanks.
        width: Columns of each line, 0 means two or as many as the columns asked for need.
        comments: Lines that begin with `#` and a blank are comments.
        strip_language: Words are written `de:Haus` (PAN-X), and lines are read as
            `panx_words` says, whatever `separator` and `comments` are.
        skip: Words whose sentences are left out, such as `-DOCSTART-`.
    """

    separator: Literal["tab", "space"] = "tab"
    width: int = 0
    comments: bool = False
    strip_language: bool = False
    skip: list[str] = []  # noqa: RUF012  (pydantic copies defaults)


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The sentences of word-per-line files; a place is the row of the sentence's first word.

    Raises:
        DataError: A line has another number of columns, a label is unknown, or a column of the
            source is no number.
    """
    del split
    options = options_of(Options, source, task)
    for path, prefix in zip(paths, id_prefixes(paths), strict=True):
        context = Context(path, source, task, language, options)
        number = 0
        for number, sentence in enumerate(_sentences(context, options), 1):
            yield _example(sentence, context, options, f"{prefix}{number}")
        if not number:
            raise DataError("the file has no sentences", where=str(path))


def panx_words(lines: Iterable[str]) -> Iterator[tuple[int, str, str, str]]:
    """Row, language, word and tag of the lines of a raw PAN-X file, by XTREME's script's rules.

    A line of two fields is a word, which begins after its first colon, and its tag; without a colon
    it is left out. Of any other line, which ends the sentence, there is the row only.
    """
    for row, line in enumerate(lines, 1):
        cells = line.strip().split("\t")
        prefix, colon, word = cells[0].partition(":")
        if len(cells) != 2:
            yield row, "", "", ""
        elif colon:
            yield row, prefix, word.strip(), cells[1].strip()


def _sentences(context: Context, options: Options) -> Iterator[list[Line]]:
    lines = _panx_lines(context) if options.strip_language else _lines(context.path, options)
    return _between_ends(lines)


def _panx_lines(context: Context) -> Iterator[Line]:
    """A blank word ends a sentence, too: XTREME's test files have a blank line in its place."""
    code = context.source.codes.get(context.language, context.language)
    for row, prefix, word, tag in panx_words(read_lines(context.path, mixed=True)):
        if tag and prefix != code:
            raise DataError(
                f"the word does not begin with '{code}:'",
                where=where(context.path, row),
                hint="This file belongs to another language, or is already converted.",
            )
        yield row, [word, tag] if word else []


def _lines(path: Path, options: Options) -> Iterator[Line]:
    for row, line in enumerate(read_lines(path), 1):
        if options.comments and (line == "#" or line.startswith("# ")):
            continue
        if is_blank(line):
            yield row, []
        else:
            yield row, line.split("\t") if options.separator == "tab" else blank_split(line)


def _between_ends(lines: Iterable[Line]) -> Iterator[list[Line]]:
    for words, group in groupby(lines, lambda line: bool(line[1])):
        if words:
            yield list(group)


def _example(
    sentence: list[Line], context: Context, options: Options, sentence_id: str
) -> Example | Dropped:
    first = sentence[0][0]
    word_at, tag_at = _column("words", 0, context), _column("target", 1, context)
    width = options.width or max(word_at, tag_at) + 1
    words: list[str] = []
    tags: list[str] = []
    try:
        for row, cells in sentence:
            bare = options.labels == "optional" and len(cells) == width - 1 == tag_at
            if len(cells) != width and not bare:
                raise DataError(
                    f"{len(cells)} columns where {width} are expected",
                    where=where(context.path, row),
                    hint="Each line holds one word and its label; a blank line ends a sentence.",
                )
            words.append(checked_word(cells[word_at], context, row))
            if not bare:
                tags.append(label_name(cells[tag_at], context, row))
    except DropRow as drop:
        return Dropped(place(context.path, first), drop.reason)
    if tags and len(tags) != len(words):
        raise DataError("some words have a label and some none", where=where(context.path, first))
    if words[0] in options.skip:
        return Dropped(place(context.path, first), f"{words[0]} line")
    target = tuple(tags) or None
    fields = {"words": tuple(words)}
    return Example(sentence_id, context.language, fields, target, place(context.path, first))


def _column(field: str, default: int, context: Context) -> int:
    column = str(context.source.columns.get(field, default))
    if not column.isdecimal():
        raise DataError(
            f"column '{column}' (for '{field}') is no number",
            where=f"task {context.task.name}, reader {context.source.reader}",
            hint="These files have no header: count their columns from 0.",
        )
    return int(column)
