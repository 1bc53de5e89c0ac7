"""Row to `Example`, one function a format; a format not listed gets its columns as text fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xstilts.data.examples import Answer, Example
from xstilts.data.rows import (
    Context,
    Dropped,
    DropRow,
    Missing,
    Row,
    checked_text,
    checked_word,
    is_missing,
    label_name,
    plain_text,
    raw_target,
    text_field,
    value_of,
    wrong,
)
from xstilts.data.text import blank_split, of_kind, place, where
from xstilts.errors import DataError


def example_of(row: Row, context: Context, default_id: str) -> Example | Dropped:
    """The example that a row holds, or why it is left out.

    Raises:
        DataError: A column is missing, required text is blank, or the label is unknown.
    """
    build = _FORMATS.get(context.task.format, _any_format)
    try:
        fields, target = build(row, context)
        columns = context.source.columns
        row_id = default_id
        if "id" in columns:
            row_id = plain_text(value_of(row, context, "id"), "id", context, row.number)
            if not row_id:
                raise wrong(row, context, "the id is missing")
    except DropRow as drop:
        return Dropped(place(context.path, row.number), drop.reason)
    return Example(row_id, context.language, fields, target, place(context.path, row.number))


def _classification(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    raw = raw_target(row, context)
    target = None if raw is None else label_name(raw, context, row.number)
    names = [name for name in ("text", "text_pair") if name == "text" or _has(context, name)]
    return {name: text_field(row, context, name) for name in names}, target


def _choice(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    raw = raw_target(row, context)
    columns = [c.strip() for c in str(context.source.columns.get("choices", "")).split(",")]
    try:
        values = [row.get(column) for column in columns]
    except Missing:
        raise wrong(row, context, f"a choice is missing: needs {', '.join(columns)}") from None
    found = values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values
    choices = tuple(_choice_text(c, number, row, context) for number, c in enumerate(found))
    if len(choices) < 2:
        raise wrong(row, context, f"{len(choices)} choices; at least two are needed")
    target = None if raw is None else label_name(raw, context, row.number)
    if target is not None and not (target.isdecimal() and int(target) < len(choices)):
        raise wrong(row, context, f"label '{raw}' names none of the {len(choices)} choices")
    question = (
        text_field(row, context, "question", required=False) if _has(context, "question") else ""
    )
    fields = {"context": text_field(row, context, "context") if _has(context, "context") else ""}
    return {**fields, "question": question, "choices": choices}, target


def _choice_text(value: Any, number: int, row: Row, context: Context) -> str:
    name = f"choice {number}"
    return checked_text(plain_text(value, name, context, row.number), name, context, row.number)


def _tagging(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    words = value_of(row, context, "words")
    if isinstance(words, str):
        words = blank_split(words)
    if not isinstance(words, list | tuple) or not words:
        raise wrong(row, context, "a sentence without words")
    texts = (plain_text(word, "word", context, row.number) for word in words)
    words = [checked_word(text, context, row.number) for text in texts]
    tags = raw_target(row, context)
    if isinstance(tags, str):
        tags = blank_split(tags)
    if tags is not None and not isinstance(tags, list | tuple):
        raise wrong(row, context, "the labels are not a list, one for each word")
    if tags is not None and len(tags) != len(words):
        raise wrong(row, context, f"{len(words)} words but {len(tags)} labels")
    target = None if tags is None else tuple(label_name(t, context, row.number) for t in tags)
    return {"words": tuple(words)}, target


def _extractive_qa(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    raw = _raw_answers(row, context)
    if isinstance(raw, str):
        raw = [{"text": raw, "answer_start": _start(row, context)}]
    passage = text_field(row, context, "context")
    question = text_field(row, context, "question")
    return {"question": question, "context": passage}, answers_of(raw, passage, context, row.number)


def _raw_answers(row: Row, context: Context) -> Any:
    """Gold answers as written; an empty cell is a question without an answer where those belong."""
    if context.options.unanswerable and _has(context, "target"):
        value = value_of(row, context, "target")
        if is_missing(value) or (isinstance(value, str) and not value.strip()):
            return []
    return raw_target(row, context)


def _start(row: Row, context: Context) -> int:
    """The offset of an answer that stands in a column of its own; 0 when it is to be looked for."""
    if _has(context, "answer_start"):
        value = str(value_of(row, context, "answer_start")).strip()
        if not value.removeprefix("-").isdecimal():
            raise wrong(row, context, f"'{value}' is no offset of an answer")
        return int(value)
    if context.options.offsets == "nearest":
        return 0
    raise DataError(
        "an answer without its offset",
        where=where(context.path, row.number),
        hint="Add `columns: {answer_start: …}`, or `options: {offsets: nearest}` to take its "
        "first place in the context.",
    )


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
        found = [(of_kind(text, str), int(start)) for text, start in pairs]
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


def _plain_text(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    return {"text": text_field(row, context, "text")}, None


def _any_format(row: Row, context: Context) -> tuple[dict[str, Any], Any]:
    names = [name for name in context.source.columns if name not in ("id", "target")]
    raw = raw_target(row, context) if _has(context, "target") else None
    target = None if raw is None else label_name(raw, context, row.number)
    return {name: text_field(row, context, name) for name in names}, target


def _has(context: Context, field: str) -> bool:
    return field in context.source.columns


_FORMATS: Mapping[str, Callable[[Row, Context], tuple[dict[str, Any], Any]]] = {
    "classification": _classification,
    "multiple_choice": _choice,
    "tagging": _tagging,
    "extractive_qa": _extractive_qa,
    "retrieval": _plain_text,
    "masked_lm": _plain_text,
}
