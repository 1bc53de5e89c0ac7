"""The demo with four seeds: how far apart the rows of its table come out, and what it costs.

`pytest -m bench -s tests/bench/test_demo_spread.py` prints the table of docs/reproducing.md.
"""

from __future__ import annotations

import os
from collections import defaultdict
from statistics import mean, stdev

import pytest

from xstilts import Session

SEEDS = (42, 1, 2, 3)
"""The demo's own, and three."""
WIDEST = 3.0
"""Points between the best and the worst seed of a row."""


def cpu_seconds() -> float:
    """Of this process and of those that it started and that ended."""
    return sum(os.times()[:4])


@pytest.mark.bench
def test_rows_of_the_demo_are_steady_over_seeds(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path))
    session = Session(world="sandbox", zoo=tmp_path / "zoo", results=tmp_path / "results")
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    seconds = {}
    began = cpu_seconds()
    for seed in SEEDS:
        by_row = defaultdict(list)
        for row in session.demo([seed]).scores:
            if row.main:
                by_row[row.task, row.intermediate].append(row.value)
        for key, found in by_row.items():
            values[key].append(mean(found))
        seconds[seed], began = cpu_seconds() - began, cpu_seconds()
    with capsys.disabled():
        print("\n| task | row | mean | least | most | spread | sd |\n|---|---|---|---|---|---|---|")
        for (task, label), found in sorted(values.items(), reverse=True):
            least, most = min(found), max(found)
            figures = (mean(found), least, most, most - least, stdev(found))
            print(f"| {task} | `{label}` | " + " | ".join(f"{f:.1f}" for f in figures) + " |")
        print("CPU seconds: " + ", ".join(f"seed {s} {t:.0f}" for s, t in seconds.items()))
    wide = {key: max(found) - min(found) for key, found in values.items()}
    assert len(wide) == 22
    assert {key: spread for key, spread in wide.items() if spread >= WIDEST} == {}
