"""A grid whose cells cost nothing, and a worker of it as a program of its own.

`python -m support.grid_toy ROOT SECONDS` works on it like a worker of an engine.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from xstilts.errors import NetworkError, PreemptedError, UsageError
from xstilts.files import digest, write_json
from xstilts.grid.cell import GridCell
from xstilts.grid.lease import Watch
from xstilts.grid.state import GridFolder, PlannedStudy
from xstilts.grid.worker import Worker


def cell(name, *parents, **job):
    key = digest([name, [p.key for p in parents], job])
    return GridCell(key, "toy", name, job.get("backbone", ""), tuple(p.key for p in parents), job)


def layered(width=10):
    """Roots, two children of each, and one that needs everything."""
    roots = [cell(f"root{n}", value=n) for n in range(width)]
    middle = [cell(f"child{n}.{m}", r, value=m) for n, r in enumerate(roots) for m in (1, 2)]
    return (*roots, *middle, cell("sum", *middle, value=0))


def plan(root: Path, cells) -> GridFolder:
    folder = GridFolder(root)
    folder.save(PlannedStudy("toy", {}, tuple(cells)))
    return folder


def compute(folder: GridFolder, root: Path, seconds: float):
    """Sums of the values above; each computation leaves a line of its own."""

    def run(cell: GridCell):
        if error := cell.job.get("error"):
            raise {"usage": UsageError, "network": NetworkError, "bug": ZeroDivisionError}[error](
                f"{cell.name} always fails"
            )
        above = [folder.outcome(parent) for parent in cell.parents]
        assert all(found is not None for found in above), "a parent is not done"
        time.sleep(seconds)
        product = root / "products" / f"{cell.key}.json"
        value = cell.job["value"] + sum(found["value"] for found in above)
        write_json(product, {"value": value})
        return json.loads(product.read_text())

    return run


def worker(root: Path, seconds: float = 0.0, **settings) -> Worker:
    folder = GridFolder(root)
    cells = folder.load("toy").cells
    keys = frozenset(cell.key for cell in cells)
    return Worker(folder, "toy", cells, keys, compute(folder, root, seconds), **settings)


if __name__ == "__main__":
    made = worker(
        Path(sys.argv[1]), float(sys.argv[2]), watch=Watch(stale_seconds=1.0), beat_seconds=0.2
    )
    try:
        statuses = made.work()
    except PreemptedError as error:
        sys.exit(error.exit_code)
    sys.exit(3 if set(statuses.values()) - {"done"} else 0)
