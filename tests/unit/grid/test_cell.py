"""What stands for a study's backbones in names and tables."""

from __future__ import annotations

import pytest

from xstilts.grid.cell import shown_backbones


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["/models/small", "/models/large"], ["small", "large"]),
        (["org/base", "xlm-roberta-large"], ["base", "xlm-roberta-large"]),
        (["/a/base", "/b/base", "/b/large"], ["/a/base", "/b/base", "large"]),
        (["/models/small/"], ["small"]),
        ([""], [""]),
    ],
)
def test_backbones_are_called_by_their_last_part_where_it_tells_them_apart(names, shown):
    assert list(shown_backbones(names).values()) == shown
