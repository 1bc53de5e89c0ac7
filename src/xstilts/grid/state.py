"""What is known of the cells of a study: files below the result store, and nothing else.

<results>/grid/cells/<key[:2]>/<key>/
    lease-<n>.json       attempt n: owner, host, process, heartbeat; see `lease`
    log-<n>.txt          what it said
    failure-<n>.json     how it failed
    retry-<n>.json       failures up to attempt n are forgiven
    cancelled.json       it is not to be computed
    done.json            its outcome; created once, never changed
<results>/grid/studies/<name>/
    plan.json            the cells of the study and what they are made from, as planned last
    plans/<digest>.json  every plan that workers were given: others may be made beside them
    cancelled.json       its workers stop
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xstilts.errors import IntegrityError, LaterVersionError, NotFoundError
from xstilts.files import create_json, digest, write_json
from xstilts.grid.cell import GridCell
from xstilts.grid.lease import SIX, Lease, newest
from xstilts.grid.retries import lost_record, used_up

if TYPE_CHECKING:
    from xstilts.report.material import UnfinishedCell

SCHEMA = "xstilts.grid/1"

Status = Literal["done", "running", "ready", "waiting", "failed", "blocked", "cancelled"]
STATUSES: tuple[Status, ...] = (
    *("done", "running", "ready", "waiting", "failed", "blocked", "cancelled"),
)
OPEN: tuple[Status, ...] = ("running", "ready", "waiting")
"""Statuses of cells that can still be finished."""


@dataclass(frozen=True)
class PlannedStudy:
    """A study as it was planned.

    Attributes:
        spec: The resolved study, plain JSON values.
        cells: In an order in which they can run.
        missing: What has no data, or cannot be read by a backbone, and why, for people.
    """

    name: str
    spec: Mapping[str, Any]
    cells: tuple[GridCell, ...]
    missing: tuple[str, ...] = ()


class GridFolder:
    """The state of grids below a result store; safe for many readers and writers."""

    def __init__(self, results: Path) -> None:
        self.root = results / "grid"

    # -- studies

    def study_folder(self, name: str) -> Path:
        """Where a study's plan and answer are."""
        return self.root / "studies" / name

    def save(self, study: PlannedStudy) -> str:
        """Keep a plan, the study's last one from now on; gives its digest, for workers."""
        record = {
            "schema": SCHEMA,
            "name": study.name,
            "study": dict(study.spec),
            "cells": [cell.record() for cell in study.cells],
            "missing": list(study.missing),
        }
        folder, plan = self.study_folder(study.name), digest(record)
        for path in (folder / "plans" / f"{plan}.json", folder / "plan.json"):
            write_json(path, record)
        return plan

    def load(self, name: str, plan: str = "", *, start: str = "") -> PlannedStudy:
        """The plan of a study: the one with a digest, or the last one.

        `start` is the command that makes one, for the hint.

        Raises:
            NotFoundError: It was never planned here.
            IntegrityError: The plan cannot be read, or another version made it.
        """
        path = self._plan_path(name, plan)
        if not path.is_file():
            known = sorted(p.parent.name for p in self.root.glob("studies/*/plan.json"))
            raise NotFoundError(
                f"study {name} was not started in {self.root.parent}",
                where=f"started here: {', '.join(known)}" if known else "",
                hint=start and f"Start it: {start}",
            )
        record = read_json(path)
        if record.get("schema", SCHEMA) != SCHEMA:
            raise self.other_version(name, plan)
        try:
            cells = tuple(GridCell.from_record(cell) for cell in record["cells"])
            return PlannedStudy(record["name"], record["study"], cells, tuple(record["missing"]))
        except (KeyError, TypeError) as error:
            raise _broken(path, f"it is no plan: {error}") from None

    def _plan_path(self, name: str, plan: str) -> Path:
        return self.study_folder(name) / (f"plans/{plan}.json" if plan else "plan.json")

    def other_version(self, name: str, plan: str = "") -> IntegrityError:
        """What to raise for a plan that another version made."""
        return IntegrityError(
            f"the plan of study {name} is of another version",
            where=str(self._plan_path(name, plan)),
            hint="xstilts grid run plans it anew; nothing that is done is computed again.",
        )

    def cancel_study(self, name: str) -> None:
        """Let the workers of a study stop after a checkpoint."""
        write_json(self.study_folder(name) / "cancelled.json", {"time": _now()})

    def allow_study(self, name: str) -> None:
        """Take back `cancel_study`."""
        (self.study_folder(name) / "cancelled.json").unlink(missing_ok=True)

    def study_is_cancelled(self, name: str) -> bool:
        """Whether its workers are to stop."""
        return (self.study_folder(name) / "cancelled.json").exists()

    # -- cells

    def folder(self, key: str) -> Path:
        """Where a cell's files are."""
        return self.root / "cells" / key[:2] / key

    def outcome(self, key: str) -> dict[str, Any] | None:
        """What a finished cell gave, or None.

        Raises:
            IntegrityError: Its record is broken.
            LaterVersionError: A later version wrote it.
        """
        path = self.folder(key) / "done.json"
        if not path.is_file():
            return None
        record = read_json(path)
        if (schema := record.get("schema", SCHEMA)) != SCHEMA:
            raise LaterVersionError(f"a finished cell has schema {schema}", where=str(path))
        found = record.get("outcome")
        if not isinstance(found, dict):
            raise _broken(path, "it holds no outcome")
        return found

    def finish(
        self, cell: GridCell, lease: Lease, outcome: Mapping[str, Any], seconds: float
    ) -> bool:
        """Mark a cell as done; False when somebody else did before."""
        record = {
            "schema": SCHEMA,
            "cell": {key: value for key, value in cell.record().items() if key != "job"},
            "attempt": lease.number,
            **lease.owner.record(),
            "time": _now(),
            "seconds": round(seconds, 3),
            "outcome": dict(outcome),
        }
        return create_json(self.folder(cell.key) / "done.json", record)

    def forget(self, key: str) -> None:
        """Take back a completion mark whose outcome is gone."""
        path = self.folder(key) / "done.json"
        number, _ = newest(self.folder(key))
        with suppress(FileNotFoundError):  # somebody else took it back
            path.replace(path.with_name(f"gone-{number:06d}.json"))

    def fail(self, key: str, number: int, record: Mapping[str, Any]) -> None:
        """Keep how attempt `number` at a cell failed."""
        path = self.folder(key) / f"failure-{number:06d}.json"
        create_json(path, {**record, "attempt": number, "time": _now()})

    def note_lost(self, key: str, lease: Lease) -> None:
        """Keep that the worker of the attempt before this lease died."""
        if lease.lost is not None:
            self.fail(key, lease.number - 1, lost_record(lease.lost))

    def failures(self, key: str) -> list[dict[str, Any]]:
        """The failures of a cell that were not forgiven, oldest first."""
        folder = self.folder(key)
        forgiven = max((_number(path) for path in folder.glob(f"retry-{SIX}.json")), default=0)
        paths = sorted(folder.glob(f"failure-{SIX}.json"))
        return [_failure(path) for path in paths if _number(path) > forgiven]

    def forgive(self, key: str) -> None:
        """Let a cell be tried again as if it had never failed or been cancelled."""
        folder = self.folder(key)
        number, _ = newest(folder)
        if number:
            create_json(folder / f"retry-{number:06d}.json", {"time": _now()})
        (folder / "cancelled.json").unlink(missing_ok=True)

    def cancel(self, key: str) -> None:
        """Let nobody compute a cell."""
        write_json(self.folder(key) / "cancelled.json", {"time": _now()})

    def is_cancelled(self, key: str) -> bool:
        """Whether nobody is to compute it."""
        return (self.folder(key) / "cancelled.json").exists()

    # -- all of them

    def statuses(
        self, cells: Sequence[GridCell], known: dict[str, Status] | None = None
    ) -> dict[str, Status]:
        """Key to status; `known` holds finished cells of an earlier look and is filled."""
        found: dict[str, Status] = {}
        finished = known if known is not None else {}
        for cell in cells:
            status = finished.get(cell.key) or self._status(cell, found)
            found[cell.key] = status
            if status == "done":
                finished[cell.key] = status
        return found

    def _status(self, cell: GridCell, before: Mapping[str, Status]) -> Status:
        folder = self.folder(cell.key)
        if (folder / "done.json").exists():
            return "done"
        if (folder / "cancelled.json").exists():
            return "cancelled"
        parents = [before.get(parent, "done") for parent in cell.parents]
        if any(status in ("failed", "blocked", "cancelled") for status in parents):
            return "blocked"
        if folder.exists():
            if used_up(self.failures(cell.key)):
                return "failed"
            number, record = newest(folder)
            if number and (record is None or record["state"] == "held"):
                return "running"
        return "ready" if all(status == "done" for status in parents) else "waiting"


def study_problems(folder: GridFolder) -> tuple[list[UnfinishedCell], list[str]]:
    """The cells that have no result, and missing data in words.

    Raises:
        IntegrityError: A plan cannot be read.
    """
    from xstilts.report.material import UnfinishedCell

    problems: list[UnfinishedCell] = []
    missing: list[str] = []
    for path in sorted(folder.root.glob("studies/*/plan.json")):
        study = folder.load(path.parent.name)
        missing += [f"{study.name}: {text}." for text in study.missing]
        for cell, status in zip(study.cells, folder.statuses(study.cells).values(), strict=True):
            if status != "done":
                failures = folder.failures(cell.key)
                why = str(failures[-1].get("what", "")) if failures else ""
                problems.append(UnfinishedCell(study.name, cell.name, status, why))
    return problems, missing


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that this package wrote.

    Raises:
        IntegrityError: It is not one.
    """
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _broken(path, error) from None
    if not isinstance(record, dict):
        raise _broken(path, "it holds no JSON object")
    return record


def _broken(path: Path, why: object) -> IntegrityError:
    return IntegrityError(
        f"a grid file is broken: {why}",
        where=str(path),
        hint="xstilts grid run STUDY writes it anew; what is finished is not computed again.",
    )


def _failure(path: Path) -> dict[str, Any]:
    """The record of a failure; one that is broken counts as a failure of its own kind."""
    try:
        record = read_json(path)
    except IntegrityError as error:
        record = {"what": f"{error.what} ({path})"}
    return {"error": "Unreadable", "attempts": 2, "attempt": _number(path), **record}


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[2])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
