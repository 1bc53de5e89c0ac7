"""Shares of an evaluation that are done, told from the shares of its cells."""

from __future__ import annotations

from xstilts.data.batching import Padding
from xstilts.data.features import Batch
from xstilts.evaluate.cells import Job
from xstilts.evaluate.request import Told
from xstilts.evaluate.retrieval.neighbours import Share


class Within:
    """Tells the share of all cells that is done from the share of one."""

    def __init__(self, told: Told, job: Job, number: int, total: int) -> None:
        self.name = f"{job.request.expression} {job.task.name} {job.language}"
        self.told, self.number, self.total = told, number, total

    def __call__(self, share: float, what: str = "") -> None:
        """Tell the share of this cell that is done, and what is being done."""
        self.told(f"{self.name} {what}".rstrip(), (self.number + min(share, 1.0)) / self.total)


class Count:
    """Tells the share of rows done from the rows of each batch, and adds up its padding."""

    def __init__(self, total: int, told: Share, padding: Padding) -> None:
        self.total, self.told, self.padding, self.done = total, told, padding, 0

    def __call__(self, batch: Batch) -> None:
        """Count the rows of a batch."""
        self.done += len(batch.rows)
        self.padding.add(Padding.of([batch]))
        self.told(self.done / self.total)
