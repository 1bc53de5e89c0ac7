"""One row of any table to an `Example`: columns, label names, blank fields, dropped rows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, field_validator

from xstilts.config.layers import Layer, resolve
from xstilts.config.specs import SourceSpec, Spec, TaskSpec
from xstilts.data.layout import fill, known_as
from xstilts.data.text import is_blank, where
from xstilts.errors import DataError, near_names


class ReaderOptions(Spec):
    """What every reader of rows takes in `SourceSpec.options`.

    Attributes:
        labels: `optional` lets rows without a label pass as unlabelled.
        drop_labels: Labels as written whose rows the data set itself says to leave out.
        blank: What happens to a row whose required text is blank.
        strip: Texts lose white space at their ends, as Tatoeba's protocol has it; otherwise a text
            is never changed.
        values: For a field, text as written to the text used (`question: {cause: "…"}`).
        filter: Column to the value that a row must have to belong to the language; `{code}` and
            the like are filled.
        id_language: Keep only rows whose id begins with the language's name and a dash (TyDiQA's
            file of nine languages).
        offsets: What happens to an answer that is not at its offset; `nearest` takes the
            occurrence closest to it.
        rows: Split to the rows of the file that belong to it, `first-last`, counted from 1: one
            file can serve as two splits. `first-last/period` takes these rows of every `period`.
        unanswerable: Questions without an answer are part of the data (SQuAD 2.0).
        label_separator: Text between labels in a label column; rows with several labels are left
            out. Empty: a label is one label.
        repeated_ids: `number` makes the ids of later rows unique, `error` refuses the file.
    """

    labels: Literal["required", "optional"] = "required"
    drop_labels: list[str] = Field(default_factory=list)
    blank: Literal["error", "keep", "drop"] = "error"
    strip: bool = False
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    filter: dict[str, str] = Field(default_factory=dict)
    id_language: bool = False
    offsets: Literal["error", "nearest", "drop"] = "error"
    rows: dict[str, str] = Field(default_factory=dict)
    unanswerable: bool = False
    label_separator: str = ""
    repeated_ids: Literal["error", "number"] = "error"

    @field_validator("rows")
    @classmethod
    def _ranges(cls, value: dict[str, str]) -> dict[str, str]:
        for text in value.values():
            chosen_rows(text, 0)
        return value


def chosen_rows(text: str, count: int) -> list[int]:
    """The positions, from 0, that `"11-20"` or `"1-90/100"` chooses among `count` rows.

    Raises:
        ValueError: It is no such range.
    """
    found = re.fullmatch(r"(\d{1,9})-(\d{1,9})(?:/([1-9]\d{0,8}))?", text)
    first, last, period = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    if not 1 <= first <= last or 0 < period < last:
        raise ValueError(f"'{text}' is not first-last, such as 1-1000, or 1-90/100")
    return [at for at in range(count) if first <= at % (period or count) + 1 <= last]


O = TypeVar("O", bound=Spec)  # noqa: E741


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that was read and left out, and why; counted, never silent."""

    place: str
    reason: str


class Missing(KeyError):  # noqa: N818  (an absence, turned into a DataError below)
    """A column that the row does not have; the argument lists those it has."""


@dataclass(frozen=True)
class Context:
    """Where the rows of one file come from: the file, its source and task, language and options."""

    path: Path
    source: SourceSpec
    task: TaskSpec
    language: str
    options: ReaderOptions

    @property
    def filter(self) -> Mapping[str, str]:
        """`options.filter` with the language filled in."""
        return {
            column: fill(value, self.task, self.source, self.language)
            for column, value in self.options.filter.items()
        }

    @property
    def id_prefixes(self) -> frozenset[str]:
        """What ids of the language begin with under `options.id_language`; empty means anything."""
        wanted = known_as(self.task, self.language) if self.options.id_language else ()
        return frozenset(wanted)


@dataclass(frozen=True)
class Row:
    """One row: its 1-based number and a way to its columns; `get` raises `Missing`."""

    number: int
    get: Callable[[str], Any]
    columns: Iterable[str] = ()


def options_of(kind: type[O], source: SourceSpec, task: TaskSpec) -> O:
    """The source's options as the reader's own type.

    Raises:
        ConfigError: An option is unknown to the reader, or of the wrong kind.
    """
    label = f"task {task.name}, reader {source.reader}, options"
    return resolve(kind, [Layer(label, source.options)]).value


class DropRow(Exception):  # noqa: N818  (control flow inside one row, never leaves it)
    """Raised within a row to leave it out, for a reason that is counted."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


# ------------------------------------------------------------------------------------- columns

JOINED = " + "
"""Between columns whose texts make up one field."""


def has(context: Context, field: str) -> bool:
    """Whether the source names a column for a field."""
    return field in context.source.columns


def value_of(row: Row, context: Context, field: str) -> Any:
    """What the row holds in the column of a field.

    Raises:
        DataError: The source names no column for it, or the row does not have that column.
    """
    columns = context.source.columns
    if field not in columns:
        raise DataError(
            f"the source names no column for '{field}'",
            where=f"task {context.task.name}, reader {context.source.reader}",
            hint=f"Add `columns: {{{field}: …}}`.",
        )
    return _in_column(row, context, field, str(columns[field]))


def _in_column(row: Row, context: Context, field: str, column: str) -> Any:
    try:
        return row.get(column)
    except Missing:
        raise DataError(
            f"no column '{column}' (for '{field}')",
            where=where(context.path, row.number),
            hint=near_names(column, row.columns),
        ) from None


def text_field(row: Row, context: Context, field: str, *, required: bool = True) -> str:
    """The text of a field, `options.values` applied; texts of `a + b` are joined by a blank.

    Raises:
        DataError: It is not text, or blank although required.
    """
    columns = str(context.source.columns.get(field, "")).split(JOINED)
    if len(columns) > 1:
        values = [_in_column(row, context, field, column) for column in columns]
    else:
        values = [value_of(row, context, field)]
    text = " ".join(plain_text(value, field, context, row.number) for value in values)
    text = context.options.values.get(field, {}).get(text, text)
    return checked_text(text, field, context, row.number) if required else text


def plain_text(value: Any, field: str, context: Context, number: int) -> str:
    """A value of a row as text; nothing, or a data frame's NaN, is no text.

    Raises:
        DataError: It is neither text nor a finite number.
    """
    if is_missing(value):
        return ""
    number_like = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str) and not (number_like and math.isfinite(value)):
        what = value if isinstance(value, float) else type(value).__name__
        raise DataError(f"'{field}' is not text but {what}", where=where(context.path, number))
    return str(value)


def is_missing(value: Any) -> bool:
    """Whether a value stands for nothing: JSON's null, or the NaN that data frames write."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def checked_text(text: str, field: str, context: Context, number: int) -> str:
    """The text, stripped where `options.strip` says so, when it is not blank or may be.

    Raises:
        DataError: It is blank and `options.blank` is `error`.
    """
    text = text.strip() if context.options.strip else text
    return text if text.strip() else _blank(text, field, context, number)


def checked_word(word: str, context: Context, number: int) -> str:
    """The word, when it is not blank or may be; a no-break space alone is a word.

    Raises:
        DataError: It is blank and `options.blank` is `error`.
    """
    return _blank(word, "word", context, number) if is_blank(word) else word


def _blank(text: str, field: str, context: Context, number: int) -> str:
    if context.options.blank == "error":
        raise DataError(
            "the word is blank" if field == "word" else f"'{field}' is blank",
            where=where(context.path, number),
            hint="Mend the row, or set `options: {blank: drop}` in the task's source to leave such "
            "rows out, `{blank: keep}` to keep them.",
        )
    if context.options.blank == "drop":
        raise DropRow(f"{field} is blank")
    return text


def wrong(row: Row, context: Context, what: str) -> DataError:
    """An error about this row, to raise."""
    return DataError(what, where=where(context.path, row.number))


def text_of(value: Any) -> str:
    """A label as text: `True` is `true`, `1.0` is `1`, nothing is empty."""
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


# --------------------------------------------------------------------------------------- labels


@cache
def _label_set(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(labels)


def label_name(raw: Any, context: Context, number: int) -> str:
    """The label's name in the task.

    Raises:
        DataError: The task has no such label.
    """
    text = text_of(raw)
    if not text:
        raise DataError("the label is missing", where=where(context.path, number))
    if text in context.options.drop_labels:
        raise DropRow(f"label {text}")
    separator = context.options.label_separator
    if separator and separator in text:
        raise DropRow("several labels")
    name = context.source.label_map.get(text, text)
    known = context.task.labels
    if known and name not in _label_set(tuple(known)):
        raise DataError(
            f"label '{text}' is none of: {', '.join(known[:20])}",
            where=where(context.path, number),
            hint=near_names(name, known) if len(known) > 20 else "",
        )
    return name


def raw_target(row: Row, context: Context) -> Any:
    """The label as written, or None when there is none and that is allowed.

    Raises:
        DataError: There is none although `options.labels` is `required`.
    """
    optional = context.options.labels == "optional"
    if optional and "target" not in context.source.columns:
        return None
    try:
        value = row.get(str(context.source.columns["target"])) if optional else None
    except Missing:
        return None
    if not optional:
        value = value_of(row, context, "target")
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        if optional:
            return None
        raise wrong(row, context, "the label is missing")
    return value
