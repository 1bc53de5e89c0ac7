"""What this room asks of a format: which fields rows have, and what their targets are.

The whole contract is in `xstilts.tasks.formats`; formats are files of that package.
"""

from __future__ import annotations

from typing import Protocol

from xstilts.config.registry import Registry


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


ROW_FORMATS = Registry[RowFormat]("xstilts.tasks.formats", "format", RowFormat, "xstilts.formats")
