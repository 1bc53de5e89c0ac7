"""Rows that are objects: dotted columns, filters; what the `jsonl` and `hub` readers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from xstilts.data.examples import Example
from xstilts.data.row_formats import example_of
from xstilts.data.rows import Context, Dropped, Missing, Row, text_of
from xstilts.errors import DataError


def getter(record: Mapping[str, Any]) -> Callable[[str], Any]:
    """Look up `a.b.c`; a step over a list is taken in each of its items.

    `question.choices.text` gives the texts of `{"question": {"choices": [{"text": …}, …]}}`.
    """

    def get(column: str) -> Any:
        if column in record:
            return record[column]
        value: Any = record
        for step in column.split("."):
            value = _step(value, step, column)
        return value

    return get


def _step(value: Any, step: str, column: str) -> Any:
    if isinstance(value, Mapping) and step in value:
        return value[step]
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    if isinstance(value, list) and value:
        return [_step(item, step, column) for item in value]
    raise Missing(column)


def read_records(
    records: Iterable[tuple[int, Mapping[str, Any]]], context: Context, prefix: str = ""
) -> Iterator[Example | Dropped]:
    """The examples of numbered records.

    Raises:
        DataError: No record passes the filter.
    """
    seen = False
    for found in wanted_records(records, context, prefix):
        seen = True
        yield found
    if not seen:
        raise no_records(context)


def wanted_records(
    records: Iterable[tuple[int, Mapping[str, Any]]],
    context: Context,
    prefix: str = "",
    *,
    names: Iterator[int] | None = None,
) -> Iterator[Example | Dropped]:
    """The examples of the records that pass the filter; `names` numbers those without an id."""
    wanted, prefixes = context.filter, context.id_prefixes
    id_column = str(context.source.columns.get("id", "id"))
    for number, record in records:
        get = getter(record)
        name = number if names is None else next(names)
        if prefixes and str(get(id_column)).split("-")[0].lower() not in prefixes:
            continue
        if all(_equal(get, column, value) for column, value in wanted.items()):
            yield example_of(Row(number, get, record), context, f"{prefix}{name}")


def no_records(context: Context) -> DataError:
    """An error that says that no record is of the language, to raise."""
    wanted, prefixes = context.filter, context.id_prefixes
    kind = f" of {dict(wanted)}" if wanted else f" in {context.language}" if prefixes else ""
    return DataError(f"there are no rows{kind}", where=str(context.path))


def _equal(get: Callable[[str], Any], column: str, value: str) -> bool:
    try:
        return text_of(get(column)) == value
    except Missing:
        return False
