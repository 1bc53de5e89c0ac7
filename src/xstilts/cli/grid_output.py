"""What `xstilts grid plan` and `xstilts grid status` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.grid.plan import PlannedCell
    from xstilts.grid.state import GridFolder, PlannedStudy, Status

SHOWN = {"done": "cached", "failed": "failed", "cancelled": "cancelled"}
"""Status to the column of a plan; every other cell is new."""


def print_plan(
    state: State, planned: PlannedStudy, lines: Sequence[PlannedCell], *, each: bool
) -> None:
    """Cells by backbone and kind, and what the new ones will take."""
    from xstilts.grid.cell import shown_backbones

    groups: dict[tuple[str, str], list[PlannedCell]] = {}
    for line in lines:
        groups.setdefault((line.cell.backbone or "default", line.cell.kind), []).append(line)
    columns = ("backbone", "kind", "cells", "new", "cached", "failed", "steps", "hours", "MB")
    rows = [(*key, *_sums(group)) for key, group in groups.items()]
    total = dict(zip(columns[2:], _sums(lines), strict=True))
    record: dict[str, Any] = {
        "schema": "xstilts.grid-plan/1",
        "study": planned.name,
        "groups": [dict(zip(columns, row, strict=True)) for row in rows],
        "total": total,
        "missing": list(planned.missing),
        "cells": [_line(line) for line in lines],
    }

    def human() -> None:
        if each:
            cells = [tuple(row.values()) for row in record["cells"]]
            state.table(tuple(record["cells"][0]), cells)
        names = shown_backbones([row[0] for row in rows])
        shown = [(names[row[0]], *row[1:7], f"{row[7]:.2f}", f"{row[8]:.1f}") for row in rows]
        state.table(columns, shown)
        print(
            f"{total['new']} of {total['cells']} cells to compute: {total['steps']:,} steps, about "
            f"{total['hours']:.2f} hours of one worker, {total['MB']:.0f} MB"
        )
        for text in planned.missing:
            print(f"missing: {text}")

    state.emit(record, human)


def _sums(lines: Sequence[PlannedCell]) -> tuple[int, int, int, int, int, float, float]:
    """Cells, new, cached, failed, steps, hours, megabytes."""
    kinds = Counter(SHOWN.get(line.status, "new") for line in lines)
    costs = [line.cost for line in lines if line.cost and line.status != "cancelled"]
    return (
        len(lines),
        kinds["new"],
        kinds["cached"],
        kinds["failed"],
        sum(cost.steps for cost in costs),
        round(sum(cost.seconds for cost in costs) / 3600, 4),
        round(sum(cost.disk_bytes for cost in costs) / 1e6, 1),
    )


def _line(line: PlannedCell) -> dict[str, Any]:
    cell, cost = line.cell, line.cost
    return {
        "cell": cell.short,
        "kind": cell.kind,
        "name": cell.name,
        "state": SHOWN.get(line.status, "new"),
        "steps": cost.steps if cost else 0,
        "seconds": round(cost.seconds, 1) if cost else 0.0,
        "MB": round(cost.disk_bytes / 1e6, 1) if cost else 0.0,
    }


def status_record(folder: GridFolder, planned: PlannedStudy) -> dict[str, Any]:
    """Counts of cells by status, who works, and the last failure of each failed cell."""
    from xstilts.grid.lease import newest, process_is_gone
    from xstilts.grid.state import STATUSES

    statuses: dict[str, Status] = folder.statuses(planned.cells)
    counts = Counter(statuses.values())
    working, failed, cells = [], [], []
    for cell in planned.cells:
        status = statuses[cell.key]
        own: dict[str, Any] = {"cell": cell.short, "name": cell.name}
        cells.append({**own, "kind": cell.kind, "status": status})
        if status == "running":
            number, lease = newest(folder.folder(cell.key))
            lease = lease or {}
            gone = bool(lease) and process_is_gone(lease)
            seen = {key: lease.get(key, "") for key in ("host", "pid", "time")}
            working.append({**own, "attempt": number, **seen, "alive": not gone})
        if status == "failed":
            failures = folder.failures(cell.key)
            last = failures[-1] if failures else {}  # it was retried since
            said = {key: last.get(key, "") for key in ("error", "what", "where", "hint")}
            failed.append({**own, "attempts": len(failures), **said})
    return {
        "schema": "xstilts.grid-status/1",
        "study": planned.name,
        "counts": {status: counts[status] for status in STATUSES},
        "running": working,
        "failed": failed,
        "cells": cells,
        "missing": list(planned.missing),
    }


def print_status(
    state: State,
    folder: GridFolder,
    planned: PlannedStudy,
    *,
    each: bool = False,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Print and give `status_record`; `more` stands beside it in JSON."""
    record = {**status_record(folder, planned), **(more or {})}

    def human() -> None:
        if each:
            rows = [tuple(row.values()) for row in record["cells"]]
            state.table(tuple(record["cells"][0]), rows)
        counts = [(name, count) for name, count in record["counts"].items() if count]
        print(f"study {planned.name}: " + ", ".join(f"{count} {name}" for name, count in counts))
        for title in ("running", "failed"):
            if record[title]:
                rows = [tuple(row.values()) for row in record[title]]
                state.table(tuple(record[title][0]), rows, title)
        for text in planned.missing:
            print(f"missing: {text}")

    state.emit(record, human)
    return record
