"""Shares of an evaluation that are done, told from the shares of its cells."""

from __future__ import annotations

from xstilts.config.progress import ProgressFn
from xstilts.data.batching import Padding
from xstilts.data.features import Batch
from xstilts.evaluate.cells import EvaluationJob


class Within:
    """Tells the share of all cells that is done from the share of one."""

    def __init__(self, progress: ProgressFn, job: EvaluationJob, number: int, total: int) -> None:
        self.name = f"{job.label} {job.task.name} {job.language}"
        self.progress, self.number, self.total = progress, number, total

    def __call__(self, text: str, share: float) -> None:
        """Show what is being done, and the share of this cell that is done."""
        self.progress(f"{self.name} {text}".rstrip(), (self.number + min(share, 1.0)) / self.total)


class Count:
    """Tells the share of rows done from the rows of each batch, and adds up its padding."""

    def __init__(self, total: int, progress: ProgressFn, padding: Padding) -> None:
        self.total, self.progress, self.padding, self.done = total, progress, padding, 0

    def __call__(self, batch: Batch) -> None:
        """Count the rows of a batch."""
        self.done += len(batch.rows)
        self.padding.add(Padding.of([batch]))
        self.progress("", self.done / self.total)
