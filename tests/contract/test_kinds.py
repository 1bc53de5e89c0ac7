"""What every kind of cell must have; a new file in `grid/kinds/` is found by itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from xstilts.config.registry import complete
from xstilts.grid.kinds import KINDS, CellKind


@pytest.mark.parametrize("name", KINDS)
def test_it_has_what_its_contract_states(name):
    assert complete(KINDS.get(name), [CellKind]) == []


def test_what_lacks_something_is_no_kind():
    kind = SimpleNamespace(run=lambda cell, context: {}, cost=lambda cell: None)
    assert complete(kind, [CellKind]) == [
        "its cost does not take (cell, context, costs)",
        "it has no is_there(outcome, context)",
    ]
