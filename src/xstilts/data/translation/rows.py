"""Training rows in another language, by machine translation.

Texts are cut into sentences, and each sentence is translated once. An answer span is found again by
markers that travel with the text (Chen et al., 2023, arXiv:2211.15613); rows whose markers got lost
fall back on the translated answer, and are left out when that is not in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from xstilts.data.examples import Answer, Example
from xstilts.data.formats import ROW_FORMATS
from xstilts.errors import UsageError

OPEN, CLOSE = "[", "]"
"""Markers around an answer: brackets, which translation systems tend to keep."""


_SENTENCE_END = re.compile(r"(?<=[.!?。！？؟।])\s+")
Translate = Callable[[Sequence[str]], list[str]]
"""Sentences to their translations, in order."""


@dataclass(frozen=True)
class Translated:
    """Rows in another language.

    Attributes:
        kept: Share of the rows that came through, 0..1; answers that were lost lower it.
        by_markers: Share of the answers that the markers found, 0..1; 1 without answers.
    """

    rows: list[Example]
    kept: float
    by_markers: float


def sentences(text: str) -> list[str]:
    """A text cut at sentence ends; joined by blanks they are the text up to its white space."""
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


def translate_rows(
    rows: Sequence[Example], format_name: str, language: str, translate: Translate
) -> Translated:
    """The rows in another language; ids, labels and choices stay.

    Args:
        rows: In the source language.
        format_name: Of their task.
        language: XTREME code of the new language.
        translate: For all sentences at once.

    Raises:
        UsageError: Rows of this format cannot be translated (tags belong to words).
    """
    form = ROW_FORMATS.get(format_name)
    if not form.TRANSLATED:
        raise UsageError(
            f"rows of format {format_name} cannot be translated",
            hint="Their labels belong to words, which translation does not keep.",
        )
    prepared = [_marked(row, form.SPAN_FIELD) if form.SPAN_FIELD else row for row in rows]
    texts = [text for row in prepared for text in _texts(row, form.TRANSLATED)]
    cut = [sentences(text) for text in texts]
    flat = list(dict.fromkeys(sentence for parts in cut for sentence in parts))
    table = dict(zip(flat, translate(flat), strict=True))
    done = iter(" ".join(table[sentence] for sentence in parts) for parts in cut)
    result, marked, answers = [], 0, 0
    answer_texts = _answer_table(rows, translate) if form.SPAN_FIELD else {}
    for row, source in zip(prepared, rows, strict=True):
        new = _filled(row, form.TRANSLATED, language, done)
        if form.SPAN_FIELD and source.target:
            answers += 1
            found, by_marker = _answered(new, form.SPAN_FIELD, answer_texts[source.target[0].text])
            marked += by_marker
            if found is None:
                continue
            new = found
        result.append(new)
    kept = len(result) / len(rows) if rows else 1.0
    return Translated(result, kept, marked / answers if answers else 1.0)


def _texts(row: Example, fields: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in fields:
        value = row.fields.get(name)
        if isinstance(value, str):
            found.append(value)
        elif value is not None:
            found += value
    return found


def _filled(row: Example, names: Sequence[str], language: str, texts: Iterable[str]) -> Example:
    """The row with its texts replaced by the next ones of `texts`."""
    source = iter(texts)
    fields = dict(row.fields)
    for name in names:
        value = fields.get(name)
        if isinstance(value, str):
            fields[name] = next(source)
        elif value is not None:
            fields[name] = tuple(next(source) for _ in value)
    return replace(row, language=language, fields=fields, place="")


# -- answers


def _marked(row: Example, field: str) -> Example:
    """The row with its first answer between markers; brackets in the text become parentheses."""
    context = str(row.fields[field]).replace(OPEN, "(").replace(CLOSE, ")")
    if row.target:
        answer = row.target[0]
        end = answer.start + len(answer.text)
        inside = context[answer.start : end]
        context = f"{context[: answer.start]}{OPEN}{inside}{CLOSE}{context[end:]}"
    return replace(row, fields={**row.fields, field: context})


def _answer_table(rows: Sequence[Example], translate: Translate) -> dict[str, str]:
    texts = list(dict.fromkeys(row.target[0].text for row in rows if row.target))
    return dict(zip(texts, translate(texts), strict=True))


def _answered(row: Example, field: str, answer: str) -> tuple[Example | None, bool]:
    """The row with its markers turned into an answer, and whether the markers were there."""
    context = str(row.fields[field])
    begin, end = context.find(OPEN), context.find(CLOSE)
    if context.count(OPEN) == 1 == context.count(CLOSE) and begin < end:
        inside = context[begin + 1 : end]
        text = inside.strip()
        plain = context[:begin] + inside + context[end + 1 :]
        start = begin + len(inside) - len(inside.lstrip())
        if text:
            return _with_answer(row, field, plain, Answer(text, start)), True
    plain = context.replace(OPEN, "").replace(CLOSE, "")
    start = plain.find(answer) if answer.strip() else -1
    if start < 0:
        return None, False
    return _with_answer(row, field, plain, Answer(answer, start)), False


def _with_answer(row: Example, field: str, context: str, answer: Answer) -> Example:
    return replace(row, fields={**row.fields, field: context}, target=(answer,))
