"""SQuAD-style JSON: SQuAD 1.1 and 2.0, XQuAD, MLQA, TyDiQA-GoldP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.readers import Rows
from xstilts.data.row_formats import answers_of
from xstilts.data.rows import Context, Dropped, DropRow, ReaderOptions, checked_text, options_of
from xstilts.data.text import of_kind, place, read_json, where
from xstilts.errors import DataError


class Options(ReaderOptions):
    """Nothing besides what all readers take; SQuAD 2.0 sets `unanswerable`."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The questions of SQuAD files; a place counts questions.

    Raises:
        DataError: Not SQuAD JSON, an answer is not at its offset, or a question has no answer.
    """
    del split
    options = options_of(Options, source, task)
    for path in paths:
        context = Context(path, source, task, language, options)
        names, seen = context.id_prefixes, False
        for number, passage, question in _questions(path):
            prefix = str(question.get("id", "")).split("-")[0].lower()
            if names and prefix not in names:
                continue
            seen = True
            yield _example(number, passage, question, context)
        if not seen:
            kind = f" in {language}" if names else ""
            raise DataError(f"the file has no questions{kind}", where=str(path))


def _questions(path: Path) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    data = read_json(path)
    number = 0
    try:
        for article in data["data"] if isinstance(data, dict) else data:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    number += 1
                    yield number, of_kind(paragraph["context"], str), of_kind(question, dict)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"not SQuAD JSON: {type(error).__name__} {error}",
            where=where(path, number + 1),
            hint="Expected data, paragraphs, context and qas.",
        ) from None


def _example(
    number: int, passage: str, question: Mapping[str, Any], context: Context
) -> Example | Dropped:
    path = context.path
    for key, kinds in (("id", str | int), ("question", str)):
        if not isinstance(question.get(key), kinds):
            raise DataError(f"a question without '{key}'", where=where(path, number))
    try:
        text = checked_text(question["question"], "question", context, number)
        checked_text(passage, "context", context, number)
        target = _target(number, passage, question, context)
    except DropRow as drop:
        return Dropped(place(path, number), drop.reason)
    fields = {"question": text, "context": passage}
    return Example(str(question["id"]), context.language, fields, target, place(path, number))


def _target(number: int, passage: str, question: Mapping[str, Any], context: Context) -> Any:
    answers = question.get("answers")
    required = context.options.labels == "required"
    if answers is None and required:
        raise DataError("a question without 'answers'", where=where(context.path, number))
    target = answers_of(answers, passage, context, number)
    if target is None and required:
        raise DataError(
            "the answers are placeholders (empty text)",
            where=where(context.path, number),
            hint="This is the stripped test file; the original file has the answers.",
        )
    return target
