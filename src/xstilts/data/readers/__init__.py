"""Readers: one file layout each; the file name is the name in a source's `reader`.

A reader is one file of this package, or an entry point of the group `xstilts.readers`; `Reader`
states what it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from xstilts.config.registry import Registry
from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.rows import Dropped, ReaderOptions

Rows: TypeAlias = Iterator[Example | Dropped]


class Reader(Protocol):
    """What a reader has; what has a value here may be left out.

    Attributes:
        Options: What it takes in `SourceSpec.options`; `options_of` reads them.
        TELLS_LANGUAGE: Whether the target side of a retrieval task states the language of each row;
            otherwise that side is in the task's source language.
    """

    Options: type[ReaderOptions]
    TELLS_LANGUAGE: bool = False

    def read(
        self, paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
    ) -> Rows:
        """The rows in file order, and a `Dropped` for each that the data set says to leave out.

        A reader never warns and repairs.

        Raises:
            DataError: A missing field, a wrong number of columns, an unknown label, a blank
                required field, or a file that is not what it claims; file and row are named.
        """
        ...


READERS = Registry[Reader]("xstilts.data.readers", "reader", Reader, "xstilts.readers")
