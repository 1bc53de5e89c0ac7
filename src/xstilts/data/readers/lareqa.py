"""LAReQA: SQuAD-style JSON with sentence breaks; questions retrieve answer sentences.

The source side is the questions of one language, the target side the sentences of all languages in
one pool (files `xx.json`, the stem is the language). `target` of a row lists the ids of the
questions that it belongs to, which is what pairs the two sides.
Roy et al., 2020, arXiv:2004.05484.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.readers import Rows
from xstilts.data.rows import Dropped, ReaderOptions, options_of
from xstilts.data.text import of_kind, place, read_json, where
from xstilts.errors import DataError

TELLS_LANGUAGE = True
"""Rows of the target side are in languages of their own, not in the pivot."""


class Options(ReaderOptions):
    """Options of LAReQA files.

    Attributes:
        candidate: What stands for an answer: its sentence, followed by its paragraph or not.
    """

    candidate: Literal["sentence", "sentence_context"] = "sentence_context"


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The questions (`….source`) or the candidate sentences (`….target`).

    Raises:
        DataError: Not SQuAD JSON with `sentence_breaks`.
    """
    options = options_of(Options, source, task)
    for path in paths:
        if split.endswith("target"):
            yield from _candidates(path, options)
        else:
            yield from _questions(path, language)


def _paragraphs(path: Path) -> Iterator[tuple[int, str, list[str], list[tuple[str, str, int]]]]:
    """Paragraph number, text, sentences and `(question id, question, answer sentence)`."""
    data = read_json(path)
    number = 0
    try:
        for article in data["data"]:
            for paragraph in article["paragraphs"]:
                number += 1
                text, breaks = of_kind(paragraph["context"], str), paragraph["sentence_breaks"]
                questions = [
                    (str(qa["id"]), of_kind(qa["question"], str), _sentence_at(qa, breaks))
                    for qa in paragraph["qas"]
                ]
                yield number, text, [text[start:end] for start, end in breaks], questions
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"not SQuAD JSON with sentence breaks: {error!r}", where=where(path, number)
        ) from None


def _sentence_at(qa: Mapping[str, Any], breaks: Sequence[Sequence[int]]) -> int:
    start = qa["answers"][0]["answer_start"]
    inside = (n for n, (begin, end) in enumerate(breaks) if begin <= start < end)
    return next(inside, -1)


def _questions(path: Path, language: str) -> Rows:
    row = 0
    for _, _, _, questions in _paragraphs(path):
        for question_id, question, answer in questions:
            row += 1
            if answer < 0:
                yield Dropped(place(path, row), "no single sentence holds the answer")
                continue
            fields = {"text": question}
            row_id = f"{question_id}_{language}"
            yield Example(row_id, language, fields, (question_id,), place(path, row))


def _candidates(path: Path, options: Options) -> Rows:
    language = path.stem
    row = 0
    for number, context, sentences, questions in _paragraphs(path):
        for position, sentence in enumerate(sentences):
            row += 1
            # A sentence that repeats in its paragraph counts as the answer wherever it stands.
            answered = tuple(q for q, _, at in questions if at >= 0 and sentences[at] == sentence)
            text = sentence
            if options.candidate == "sentence_context":
                text = f"{sentence} {context}"
            row_id = f"{language}_{number}_{position}"
            yield Example(row_id, language, {"text": text}, answered, place(path, row))
