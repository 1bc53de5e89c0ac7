"""Tatoeba: share of queries whose nearest neighbour is the right sentence (top-1 accuracy)."""

from __future__ import annotations

from xstilts.tasks.layouts import LINES
from xstilts.tasks.metrics import accuracy

MAIN = "accuracy"
LAYOUT = LINES
SEARCH = "nearest"
compute = accuracy.compute
outcomes = accuracy.outcomes
pooled = accuracy.pooled
