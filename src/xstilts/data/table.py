"""Rows of delimited text: what the `tsv` and `csv` readers share."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.row_formats import example_of
from xstilts.data.rows import JOINED, Context, Dropped, Missing, ReaderOptions, Row, options_of
from xstilts.data.text import id_prefixes, place, read_text, split_lines, where
from xstilts.errors import DataError, near_names


class TableOptions(ReaderOptions):
    """Options of delimited text.

    Attributes:
        header: The first row names the columns.
        delimiter: What separates columns.
        quoting: `none`: quotes are characters; `csv`: quoted fields, which may hold delimiters and
            line ends; `undo`: as `none`, but a field that a CSV writer quoted because it holds a
            quote gets its text back (XTREME's processed files).
        width: Number of columns; 0 takes it from the first row.
        short_rows: What happens to a row with fewer columns.
        long_rows: What happens to a row with more columns.
        line_ends: `mixed` accepts LF, CRLF and CR in one file.
    """

    header: bool = False
    delimiter: str = "\t"
    quoting: Literal["none", "csv", "undo"] = "none"
    width: int = 0
    short_rows: Literal["error", "drop"] = "error"
    long_rows: Literal["error", "drop"] = "error"
    line_ends: Literal["same", "mixed"] = "same"


def read_table(
    options_type: type[TableOptions],
    paths: Sequence[Path],
    source: SourceSpec,
    task: TaskSpec,
    language: str,
) -> Iterator[Example | Dropped]:
    """The rows of delimited files, in order.

    Raises:
        DataError: A row has another number of columns, lacks a value, or is not of the language
            in any row.
    """
    options = options_of(options_type, source, task)
    for path, prefix in zip(paths, id_prefixes(paths), strict=True):
        context = Context(path, source, task, language, options)
        yield from _file(context, options, prefix)


def _file(context: Context, options: TableOptions, prefix: str) -> Iterator[Example | Dropped]:
    rows = cells_of(context.path, options)
    names: list[str] = []
    if options.header:
        _, names = next(rows)
        _check_header(names, context)
    width = options.width or len(names)
    wanted, seen = context.filter, False
    for number, cells in rows:
        width = width or len(cells)
        if len(cells) != width:
            few = len(cells) < width
            if (options.short_rows if few else options.long_rows) == "drop":
                what = f"too {'few' if few else 'many'} columns"
                yield Dropped(place(context.path, number), what)
                continue
            raise other_width(cells, width, context.path, number)
        row = Row(number, _getter(cells, names), names or [str(n) for n in range(width)])
        if all(_matches(row, column, value, context) for column, value in wanted.items()):
            seen = True
            yield example_of(row, context, f"{prefix}{number - bool(options.header)}")
    if not seen:
        kind = f" of {dict(wanted)}" if wanted else ""
        raise DataError(f"the file has no rows{kind}", where=str(context.path))


def other_width(cells: Sequence[str], width: int, path: Path, number: int) -> DataError:
    """An error about a row of another number of columns, to raise."""
    hint = "A line end or delimiter inside a field, or a row that was cut off."
    return DataError(
        f"{len(cells)} columns where {width} are expected",
        where=where(path, number),
        hint=hint if any(cells) else "The row is blank: remove it.",
    )


def _check_header(names: list[str], context: Context) -> None:
    for wanted in context.filter:
        require_distinct(names, context.path, [wanted])
    for field, column in context.source.columns.items():
        for name in str(column).replace(JOINED, ",").split(","):
            require_distinct(names, context.path, [name.strip()])
            missing = name.strip() not in names and not name.strip().isdecimal()
            optional = field == "target" and context.options.labels == "optional"
            if missing and not optional:
                raise DataError(
                    f"the header has no column '{name.strip()}' (for '{field}')",
                    where=where(context.path, 1),
                    hint=near_names(name.strip(), names),
                )


def require_distinct(names: Sequence[str], path: Path, wanted: Sequence[str] = ()) -> None:
    """Refuse a header in which a column stands twice; of all columns where none are wanted."""
    for column in wanted or names:
        if names.count(column) > 1:
            raise DataError(
                f"the header has {names.count(column)} columns '{column}'",
                where=where(path, 1),
                hint="Rename one in the file, or count the columns from 0 in the task's source.",
            )


def _matches(row: Row, column: str, value: str, context: Context) -> bool:
    try:
        return str(row.get(column)).strip() == value
    except Missing:
        raise DataError(
            f"no column '{column}' to filter by",
            where=where(context.path, row.number),
            hint=near_names(column, row.columns),
        ) from None


def _getter(cells: list[str], names: list[str]) -> Callable[[str], Any]:
    def get(column: str) -> str:
        if column in names:
            return cells[names.index(column)]
        if column.isdecimal() and int(column) < len(cells):
            return cells[int(column)]
        raise Missing(column)

    return get


def cells_of(path: Path, options: TableOptions) -> Iterator[tuple[int, list[str]]]:
    """Row number, from 1, and cells of every row of a delimited file, its header too."""
    text = read_text(path)
    if options.quoting == "csv":
        yield from quoted_rows(text, path, options.delimiter)
        return
    lines = split_lines(text, path, mixed=options.line_ends == "mixed")
    for number, line in enumerate(lines, 1):
        cells = line.split(options.delimiter)
        yield number, [_undo(cell) for cell in cells] if options.quoting == "undo" else cells


csv.field_size_limit(2**31 - 1)  # the text is in memory already; 131,072 cuts whole documents


def quoted_rows(text: str, path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Row number, from 1, and cells of text with quoted fields (RFC 4180).

    Raises:
        DataError: A quote is open or out of place.
    """
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, cells in enumerate(rows, 1):
            yield number, cells
    except csv.Error as error:
        raise DataError(
            f"not valid CSV: {error}", where=f"{where(path, number + 1)} (line {rows.line_num})"
        ) from None


def _undo(cell: str) -> str:
    if len(cell) < 4 or cell[0] != '"' or cell[-1] != '"':
        return cell
    inner = cell[1:-1]
    plain = inner.replace('""', "")
    return inner.replace('""', '"') if '"' not in plain and plain != inner else cell
