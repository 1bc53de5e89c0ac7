"""Readers: one file layout each; the file name is the name in a source's `reader`.

A reader module has
- `Options`, a `ReaderOptions` with what it takes in `SourceSpec.options`;
- `read(paths, source, task, language, split)`, an iterator over the rows in file order: an
  `Example` each, or a `Dropped` for a row that the data set says to leave out;
- optionally `TELLS_LANGUAGE = True`, when the target side of a retrieval task states the language
  of each row; otherwise that side is in the task's source language.

A reader never warns and repairs: a missing field, a wrong number of columns, an unknown label, a
blank required field or a file that is not what it claims raises `DataError` with file and row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from xstilts.config.registry import Registry
from xstilts.data.examples import Example
from xstilts.data.rows import Dropped

Rows: TypeAlias = Iterator[Example | Dropped]

READERS = Registry[Any]("xstilts.data.readers", "reader", group="xstilts.readers")
