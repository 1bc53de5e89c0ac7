from __future__ import annotations

import json

import pytest

from xstilts.bench import Result, comparisons
from xstilts.cli import main


def test_a_comparison_that_fails_takes_no_other_with_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path))

    def good(size, pairs):
        return Result("good work", 0.5, 1.0, 2.0, 1.9, 2.1, 1.5, f"{size}, {pairs}")

    def killed(size, pairs):
        raise RuntimeError("no memory for it")

    monkeypatch.setattr(comparisons, "COMPARISONS", {"first": killed, "second": good})
    with pytest.raises(SystemExit) as caught:
        main(["--json", "bench", "--pairs", "3"])
    output = capsys.readouterr()
    assert caught.value.code == 3
    assert [found["note"] for found in json.loads(output.out)["results"]] == ["tiny, 3"]
    assert "first: no memory for it" in output.err
    assert "good work: 500 ms against 1000 ms, 2.00 (1.90–2.10)" in output.err
    assert "1 of 2 comparisons failed" in output.err
