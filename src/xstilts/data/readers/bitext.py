"""Line-aligned file pairs: line n of one file translates line n of the other.

Each side is read by itself (`test.source` is the foreign side, `test.target` the pivot's);
`xstilts.data.pairs.load_pair` puts them together and holds them to the same number of lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.readers import Rows
from xstilts.data.readers.lines import texts
from xstilts.data.rows import ReaderOptions, options_of


class Options(ReaderOptions):
    """Nothing besides what all readers take."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The lines of one side, as they stand.

    Raises:
        DataError: A line is blank, unless `blank` says otherwise.
    """
    del split
    return texts(options_of(Options, source, task), paths, source, task, language)
