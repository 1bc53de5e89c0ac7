"""Published numbers, with where they stand and how sure they are; `published.csv` holds them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Published:
    """One number of the literature.

    Attributes:
        system: As its authors call it.
        label: The expression here that it corresponds to.
        metric: As published; question answering as the mean of F1 and exact match where both are.
        kind: `score`, or `gain` over XLM-R without intermediate training.
        confidence: `read` in the source, `computed` from such, `cross-checked` (remembered, and
            consistent with other published numbers) or `remembered`.
    """

    source: str
    system: str
    label: str
    task: str
    split: str
    metric: str
    kind: str
    value: float
    confidence: str

    @property
    def is_gain(self) -> bool:
        """Whether it is a difference, not a score."""
        return self.kind == "gain"


@cache
def published() -> tuple[Published, ...]:
    """Every published number that is known."""
    text = resources.files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(**{**row, "value": float(row["value"])})  # type: ignore[arg-type]
        for row in csv.DictReader(text.splitlines())
    )
