"""Shares of an evaluation that are done, told from the shares of its cells."""

from __future__ import annotations

from xstilts.evaluate.provenance import Job
from xstilts.evaluate.request import Told


class Within:
    """Tells the share of all cells that is done from the share of one."""

    def __init__(self, told: Told, job: Job, number: int, total: int) -> None:
        self.name = f"{job.request.expression} {job.task.name} {job.language}"
        self.told, self.number, self.total = told, number, total

    def __call__(self, share: float, what: str = "") -> None:
        """Tell the share of this cell that is done, and what is being done."""
        self.told(f"{self.name} {what}".rstrip(), (self.number + min(share, 1.0)) / self.total)


class Count:
    """Tells the share of rows done from the rows of each batch."""

    def __init__(self, total: int, told: Within) -> None:
        self.total, self.told, self.done = total, told, 0

    def __call__(self, rows: int) -> None:
        """Count the rows of a batch."""
        self.done += rows
        self.told(self.done / self.total)
