"""xSID: utterances with an intent and slots, as CoNLL blocks or as two files of aligned lines.

A row has the columns `text`, `words`, `intent` and `slots`, so a classification and a tagging task
read the same files. Translated training data has the utterances in one file and their labels in
another: a slot for each word, then the intent. van der Goot et al., 2021, arXiv:2105.07316.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.readers import Rows
from xstilts.data.records import read_records
from xstilts.data.rows import Context, ReaderOptions, options_of
from xstilts.data.text import blank_split, is_blank, read_lines, where
from xstilts.errors import DataError


class Options(ReaderOptions):
    """Nothing besides what all readers take."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The utterances of a CoNLL file, or of a text file and its label file.

    Raises:
        DataError: The files do not belong together, or a line is not of xSID's form.
    """
    del split
    context = Context(paths[0], source, task, language, options_of(Options, source, task))
    if len(paths) > 2:
        names = ", ".join(str(path) for path in paths)
        raise DataError("xSID needs a CoNLL file, or a text and a label file", where=names)
    yield from read_records(_lines(*paths) if len(paths) == 2 else _blocks(paths[0]), context)


def _lines(texts: Path, labels: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    utterances, labelled = read_lines(texts), read_lines(labels)
    if len(utterances) != len(labelled):
        raise DataError(
            f"{len(labelled)} lines of labels for {len(utterances)} utterances", where=str(labels)
        )
    for row, (text, line) in enumerate(zip(utterances, labelled, strict=True), 1):
        words, slots = blank_split(text), blank_split(line)
        if len(slots) != len(words) + 1:
            raise DataError(
                f"{len(slots)} labels for {len(words)} words: one each, and the intent",
                where=where(labels, row),
            )
        yield row, {"text": text, "words": words, "intent": slots.pop(), "slots": slots}


def _blocks(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    record: dict[str, Any] = {"words": [], "slots": []}
    first = 1
    for row, line in enumerate([*read_lines(path), ""], 1):
        if is_blank(line):
            if record["words"]:
                yield first, record
            record, first = {"words": [], "slots": []}, row + 1
        elif line.startswith("# "):
            name, _, value = line[2:].partition(" = ")
            if name in ("text", "intent"):
                record[name] = value
        else:
            cells = line.split("\t")
            if len(cells) != 4:
                raise DataError(
                    f"{len(cells)} columns where number, word, intent and slot are expected",
                    where=where(path, row),
                )
            record["words"].append(cells[1])
            record["slots"].append(cells[3])
