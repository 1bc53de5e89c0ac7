from __future__ import annotations

import pytest

from xstilts import bench
from xstilts.bench import scale


def test_turns_alternate_and_ratios_are_medians(monkeypatch):
    turns = []
    times = iter([1.0, 2.0, 1.0, 6.0, 2.0, 6.0])
    monkeypatch.setattr(bench, "seconds", lambda work: (work(), next(times))[1])
    result = bench.compare(
        "toy", lambda: turns.append("a"), lambda: turns.append("b"), pairs=3, target_ratio=2.0
    )
    assert turns == ["a", "b"] * 4
    # ratios 2, 6 and 3
    assert (result.ratio, result.low, result.high) == (3.0, 2.0, 6.0)
    assert (result.ours, result.theirs) == (1.0, 6.0)


def test_lengths_follow_the_quantiles():
    import numpy as np

    from xstilts.bench.models import rows

    made = rows(5000, bench.XNLI_LENGTHS, 128)
    assert made.lengths.max() <= 128
    assert np.median(made.lengths) == pytest.approx(44, abs=2)


def test_mining_of_bucc_is_projected_from_what_was_measured():
    measured = scale.Point("mining", 16, 600.0, 2_000_000_000)
    # five times the sentences: 25 times the products, five times the rows
    assert scale.of_bucc(measured) == scale.Point("mining", 80, 15_000.0, 10_000_000_000)
