"""What this room asks of a format: which fields rows have, and what their targets are.

The whole contract is in `xstilts.tasks.formats`; formats are files of that package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from xstilts.config.registry import Registry, optional
from xstilts.data.examples import Example
from xstilts.data.rows import Context, Row, has, label_name, raw_target, text_field
from xstilts.data.text import read_lines


class RowFormat(Protocol):
    """What a format says of its rows; what has a value here may be left out.

    Attributes:
        FIELDS: Fields of an `Example` that must be there.
        OPTIONAL: Fields that may be there besides.
        LABELLED: Whether a training row needs a target.
        LABEL_SET: Whether targets are names of a fixed set, which may be read from the data.
        TWO_SIDED: Whether a split has two sides, `source` and `target`, of which sentences belong
            together.
        TRANSLATED: Fields whose texts can be put into another language while the target stays; none
            where labels belong to words.
        SPAN_FIELD: The field that gold answers are cut out of; empty where there are none.
    """

    FIELDS: tuple[str, ...]
    OPTIONAL: tuple[str, ...] = ()
    LABELLED: bool = True
    LABEL_SET: bool = False
    TWO_SIDED: bool = False
    TRANSLATED: tuple[str, ...] = ()
    SPAN_FIELD: str = ""

    @optional
    def read_row(self, row: Row, context: Context) -> tuple[dict[str, Any], Any]:
        """Fields and target of a table's row: by default every named column as text, and a label.

        Raises:
            DataError: A column is missing, required text is blank, or the label is unknown.
        """
        names = [name for name in context.source.columns if name not in ("id", "target")]
        raw = raw_target(row, context) if has(context, "target") else None
        target = None if raw is None else label_name(raw, context, row.number)
        return {name: text_field(row, context, name) for name in names}, target

    @optional
    def read_targets(self, examples: Sequence[Example], context: Context) -> list[Any]:
        """Targets from the label file `context.path`, in order: by default a label a line.

        Raises:
            DataError: The file is broken, or a label is unknown.
        """
        del examples
        lines = enumerate(read_lines(context.path), 1)
        return [label_name(line, context, row) for row, line in lines]


ROW_FORMATS = Registry[RowFormat]("xstilts.tasks.formats", "format", RowFormat, "xstilts.formats")
