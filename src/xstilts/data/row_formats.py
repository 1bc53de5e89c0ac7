"""One row of any table to an `Example`, as its task's format reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xstilts.data.examples import Answer, Example
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.rows import Context, Dropped, DropRow, Row, plain_text, value_of, wrong
from xstilts.data.text import of_kind, place, where
from xstilts.errors import DataError


def example_of(row: Row, context: Context, default_id: str) -> Example | Dropped:
    """The example that a row holds, or why it is left out.

    Raises:
        DataError: A column is missing, required text is blank, or the label is unknown.
    """
    read_row = ROW_FORMATS.get(context.task.format).read_row
    try:
        fields, target = read_row(row, context)
        columns = context.source.columns
        row_id = default_id
        if "id" in columns:
            row_id = plain_text(value_of(row, context, "id"), "id", context, row.number)
            if not row_id:
                raise wrong(row, context, "the id is missing")
    except DropRow as drop:
        return Dropped(place(context.path, row.number), drop.reason)
    return Example(row_id, context.language, fields, target, place(context.path, row.number))


def answers_of(raw: Any, passage: str, context: Context, number: int) -> tuple[Answer, ...] | None:
    """Gold answers, checked against the passage; None when they are withheld.

    `raw` is a list of `{text, answer_start}`, or `{text: [...], answer_start: [...]}`, or None.

    Raises:
        DataError: An answer is not where its offset says and `options.offsets` is `error`, or there
            is no answer and `options.unanswerable` is not set.
    """
    if raw is None:
        return None
    spot = where(context.path, number)
    try:
        if isinstance(raw, Mapping):
            pairs = list(zip(raw["text"], raw["answer_start"], strict=True))
        else:
            pairs = [(answer["text"], answer["answer_start"]) for answer in raw]
        found = [(of_kind(text, str), _whole(start)) for text, start in pairs]
    except (KeyError, TypeError, ValueError):
        raise DataError("answers need `text` and `answer_start`", where=spot) from None
    if not found and not (context.options.unanswerable or context.options.labels == "optional"):
        raise DataError(
            "a question without an answer",
            where=spot,
            hint="Only SQuAD 2.0 has such questions: set the option `unanswerable`.",
        )
    if found and not any(text for text, _ in found):
        return None
    return tuple(_checked_answer(text, start, passage, context, spot) for text, start in found)


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def _checked_answer(text: str, start: int, passage: str, context: Context, spot: str) -> Answer:
    if start >= 0 and passage.startswith(text, start) and text:
        return Answer(text, start)
    if context.options.offsets == "nearest" and text.strip():
        text = text.strip()
        before = passage.rfind(text, 0, max(start, 0) + len(text))
        after = passage.find(text, max(start, 0))
        found = [at for at in (before, after) if at >= 0]
        if found:
            return Answer(text, min(found, key=lambda at: abs(at - start)))
    if context.options.offsets == "drop":
        raise DropRow("answer not at its offset")
    raise DataError(
        f"the answer '{text[:40]}' is not at offset {start} of the context",
        where=spot,
        hint="Offsets count characters, not bytes.",
    )
