"""BUCC 2018: `id TAB sentence` files, and a gold file of `foreign id TAB English id`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.readers import Rows
from xstilts.data.rows import Context, Dropped, DropRow, ReaderOptions, checked_text, options_of
from xstilts.data.text import place, read_lines, where
from xstilts.errors import DataError


class Options(ReaderOptions):
    """Nothing besides what all readers take."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The sentences of one side as they stand, under their own ids; only the first tab separates.

    Raises:
        DataError: A line has no tab, or a blank id or sentence.
    """
    del split
    options = options_of(Options, source, task)
    for path in paths:
        context = Context(path, source, task, language, options)
        for row, line in enumerate(read_lines(path), 1):
            sentence_id, tab, text = line.partition("\t")
            if not tab or not sentence_id.strip():
                raise DataError(
                    "expected `id TAB sentence`",
                    where=where(path, row),
                    hint="Sentences come from the `.xx` and `.en` files, pairs from `.gold`.",
                )
            try:
                text = checked_text(text, "text", context, row)
            except DropRow as drop:
                yield Dropped(place(path, row), drop.reason)
                continue
            spot = place(path, row)
            yield Example(sentence_id.strip(), language, {"text": text}, None, spot)


def read_gold(path: Path) -> list[tuple[str, str]]:
    """The pairs of ids in a gold file, foreign id first.

    Raises:
        DataError: A line is not a pair of ids.
    """
    pairs = []
    for row, line in enumerate(read_lines(path), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 2 or not all(cells):
            raise DataError("expected `foreign id TAB English id`", where=where(path, row))
        pairs.append((cells[0], cells[1]))
    return pairs
