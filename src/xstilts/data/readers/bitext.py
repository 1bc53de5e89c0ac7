"""Line-aligned file pairs: line n of one file translates line n of the other.

Each side is read by itself (`test.source` is the foreign side, `test.target` the pivot's);
`xstilts.data.sources.load_pair` puts them together and holds them to the same number of lines.
"""

from __future__ import annotations

from xstilts.data.readers.lines import Options, read

__all__ = ["Options", "read"]
