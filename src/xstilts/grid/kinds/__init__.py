"""Kinds of cells: what a grid can compute. A kind is one file of this package, see `CellKind`."""

from __future__ import annotations

from typing import Any, Protocol

from xstilts.config.registry import Registry
from xstilts.grid.cell import GridCell
from xstilts.grid.context import GridContext
from xstilts.grid.cost import Cost, CostModel


class CellKind(Protocol):
    """The contract of a kind of cell."""

    def run(self, cell: GridCell, context: GridContext) -> dict[str, Any]:
        """Compute the cell, or find what was computed before; the outcome is plain JSON values.

        It may be cut off anywhere and run again, by another process too.
        """
        ...

    def is_there(self, outcome: dict[str, Any], context: GridContext) -> bool:
        """Whether what a finished cell made is still where it was put."""
        ...

    def cost(self, cell: GridCell, context: GridContext, costs: CostModel) -> Cost:
        """What computing it will take; nothing is kept but caches."""
        ...


KINDS = Registry[CellKind]("xstilts.grid.kinds", "kind of cell", CellKind)
