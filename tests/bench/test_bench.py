"""Each comparison runs; its figures are printed, never judged by a clock."""

from __future__ import annotations

import pytest

from xstilts.bench.comparisons import COMPARISONS, NEEDS, there


@pytest.mark.bench
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_run(name, capsys):
    if not there(name):
        pytest.skip(f"{NEEDS[name]} is not there")
    result = COMPARISONS[name]("tiny", 2)
    with capsys.disabled():
        print(f"\n{result.name}: {result.ratio:.2f} ({result.low:.2f} to {result.high:.2f})")
    assert result.ours > 0
    assert result.low <= result.ratio <= result.high
