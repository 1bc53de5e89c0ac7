"""Each comparison runs; its figures are printed, never judged by a clock."""

from __future__ import annotations

import pytest

from xstilts.bench.comparisons import COMPARISONS, NEEDS


@pytest.mark.bench
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_run(name, capsys):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    result = COMPARISONS[name]("tiny", 2)
    with capsys.disabled():
        print(f"\n{result.name}: {result.ratio:.2f} ({result.low:.2f} to {result.high:.2f})")
    assert result.ours > 0
    assert result.low <= result.ratio <= result.high
