"""Kinds of cells: what a grid can compute.

A kind is one file of this package with these names:

    run(cell, context) -> dict
        Compute the cell, or find what was computed before; the outcome is plain JSON values. It
        may be cut off anywhere and run again, by another process too.
    is_there(outcome, context) -> bool
        Whether what a finished cell made is still where it was put.
    cost(cell, context, costs) -> Cost
        What computing it will take; nothing is kept but caches.
"""

from __future__ import annotations

from typing import Any

from xstilts.config.registry import Registry

KINDS = Registry[Any]("xstilts.grid.kinds", "kind of cell")
