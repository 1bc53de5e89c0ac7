"""Memory and progress of mining, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys, time
import numpy as np
import xstilts.evaluate.retrieval.both_sides  # and torch, which is not counted
from xstilts.evaluate.retrieval.mining import mine
rows, size = int(sys.argv[1]), int(sys.argv[2])
draw = np.random.default_rng(0)
sides = [draw.standard_normal((rows, size), dtype=np.float32) for _ in range(2)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shares, began = [], time.monotonic()
found = mine(*sides, progress=lambda _text, share: shares.append(share))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"before": before * 1024, "peak": peak * 1024, "shares": shares,
                  "pairs": len(found), "seconds": time.monotonic() - began}))
"""


def measure(rows: int, size: int) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(rows), str(size)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_memory_is_a_few_copies_of_the_sides_and_progress_is_told():
    rows, size = 20_000, 256
    side = rows * size * 4
    found = measure(rows, size)
    # Two normalised copies, the same in bfloat16 where the processor has units for it, one while a
    # copy is made, and 150 MB of libraries, tiles and lists.
    assert found["peak"] - found["before"] <= 4 * side + 150e6
    assert found["shares"] == sorted(found["shares"])
    assert found["shares"][-1] == 1.0
    assert len(found["shares"]) == 10  # tiles of 2,048 rows


@pytest.mark.bench
def test_mining_100000_by_100000_stays_below_4_gib():
    found = measure(100_000, 768)
    print({name: found[name] for name in ("seconds", "peak", "pairs")})
    assert found["peak"] < 4 * 2**30
