"""One text a line: one side of a bitext, or monolingual text for masked LM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.readers import Rows
from xstilts.data.rows import Context, Dropped, DropRow, ReaderOptions, checked_text, options_of
from xstilts.data.text import id_prefixes, place, read_lines


class Options(ReaderOptions):
    """What all readers take, ends stripped by default; for masked LM set `blank: drop`."""

    strip: bool = True


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The lines of text files.

    Raises:
        DataError: A line is blank, unless `blank` says otherwise.
    """
    del split
    return texts(options_of(Options, source, task), paths, source, task, language)


def texts(
    options: ReaderOptions,
    paths: Sequence[Path],
    source: SourceSpec,
    task: TaskSpec,
    language: str,
) -> Rows:
    """One example a line; what the `lines` and `bitext` readers share."""
    for path, prefix in zip(paths, id_prefixes(paths), strict=True):
        context = Context(path, source, task, language, options)
        for row, line in enumerate(read_lines(path), 1):
            try:
                text = checked_text(line, "text", context, row)
            except DropRow as drop:
                yield Dropped(place(path, row), drop.reason)
                continue
            yield Example(f"{prefix}{row}", language, {"text": text}, None, place(path, row))
