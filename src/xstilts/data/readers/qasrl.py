"""QA-SRL Gold Standard: questions per verb, answered by token ranges of one sentence.

Reads two CSV files: the gold file (`qasrl_id, verb_idx, question, answer_range, answer, …`) and the
sentences (`qasrl_id, tokens, sentence`). The context is the tokens joined by blanks, so that token
ranges become character offsets without guessing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Answer, Example
from xstilts.data.readers import Rows
from xstilts.data.rows import Dropped, ReaderOptions, options_of
from xstilts.data.table import quoted_rows
from xstilts.data.text import blank_split, place, read_text, where
from xstilts.errors import DataError


class Options(ReaderOptions):
    """Options of QA-SRL files.

    Attributes:
        redundant: Keep questions that annotators marked as repeating another.
    """

    redundant: bool = False


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """One example a question, all its answers as gold; ids are sentence, verb and row.

    Raises:
        DataError: A sentence is missing, or an answer range does not fit it.
    """
    del split
    options = options_of(Options, source, task)
    if len(paths) != 2:
        raise DataError(
            "QA-SRL needs a gold file and a sentence file",
            where=", ".join(str(path) for path in paths),
        )
    gold, sentences = paths
    texts = {row["qasrl_id"]: blank_split(row["tokens"]) for _, row in _table(sentences, _SENTENCE)}
    for number, row in _table(gold, _GOLD):
        if row["is_redundant"].strip().lower() == "true" and not options.redundant:
            yield Dropped(place(gold, number), "redundant question")
            continue
        words = texts.get(row["qasrl_id"])
        if words is None:
            raise DataError(
                f"no sentence '{row['qasrl_id']}' in {sentences.name}", where=where(gold, number)
            )
        spot = where(gold, number)
        answers = tuple(_answer(text, words, spot) for text in row["answer_range"].split("~!~"))
        fields = {"question": row["question"], "context": " ".join(words)}
        row_id = f"{row['qasrl_id']}:{row['verb_idx']}:{number}"
        yield Example(row_id, language, fields, answers, place(gold, number))


_GOLD = ("qasrl_id", "verb_idx", "question", "is_redundant", "answer_range")
_SENTENCE = ("qasrl_id", "tokens")


def _table(path: Path, needed: Sequence[str]) -> list[tuple[int, Mapping[str, str]]]:
    rows = quoted_rows(read_text(path), path)
    _, names = next(rows)
    missing = [name for name in needed if name not in names]
    if missing:
        raise DataError(f"the header has no column {', '.join(missing)}", where=where(path, 1))
    found: list[tuple[int, Mapping[str, str]]] = []
    for number, cells in rows:
        row = dict(zip(names, cells, strict=False))
        if len(cells) < len(names) or not row[needed[-1]].strip():
            raise DataError("the row is cut off or blank", where=where(path, number))
        found.append((number, row))
    return found


def _answer(text: str, words: Sequence[str], spot: str) -> Answer:
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError:
        raise DataError(f"'{text}' is no answer range", where=spot) from None
    if not 0 <= first < last <= len(words):
        raise DataError(f"answer range {text} leaves the sentence", where=spot)
    start = len(" ".join(words[:first])) + bool(first)
    return Answer(" ".join(words[first:last]), start)
