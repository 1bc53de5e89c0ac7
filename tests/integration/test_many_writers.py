"""Eight processes that add, tag and remove modules of one library at once.

By default for two seconds; `pytest -m slow tests/integration/test_many_writers.py` takes sixty.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.zoo_modules import build

from xstilts.zoo import Zoo
from xstilts.zoo.maintenance import broken, copy_into, gc

pytestmark = pytest.mark.long

PROCESSES = 8
PROGRAM = Path(__file__).parents[1] / "support" / "writer.py"


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_no_entry_is_lost_or_broken(seconds, tmp_path):
    """Each writer has modules of its own and two that all share; a reader looks all the time."""
    for number in range(PROCESSES + 2):
        (tmp_path / f"m{number}").mkdir()
        name = f"shared{number}" if number >= PROCESSES else f"own{number}"
        build(tmp_path / f"m{number}", "head", seed=number, name=name)
    zoo = Zoo(tmp_path / "zoo")
    steady = copy_into(zoo, tmp_path / "m0")  # nobody removes this one
    shared = [str(tmp_path / f"m{number}") for number in (PROCESSES, PROCESSES + 1)]
    writers = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(zoo.root), str(seconds), str(number)]
            + ([] if number == 0 else [str(tmp_path / f"m{number}")])
            + shared,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    looks = 0
    while any(writer.poll() is None for writer in writers):
        assert broken(zoo) == []
        assert steady.manifest.digest in {e.manifest.digest for e in zoo.entries()}
        looks += 1
    said = [json.loads(writer.communicate()[0].splitlines()[-1]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * PROCESSES
    assert all(record["error"] == "" for record in said), said
    counts = {what: sum(record[what] for record in said) for what in ("added", "removed")}
    assert min(counts.values()) >= seconds, said
    assert looks > 0
    there = {entry.manifest.digest for entry in zoo.entries()}
    kept = {digest for record in said for digest in record["kept"]}
    assert kept | {steady.manifest.digest} <= there, "an entry was lost"
    assert broken(zoo) == []
    index = json.loads((zoo.root / "index.json").read_text())["modules"]
    assert {row["digest"] for row in index.values()} == there
    assert sorted(index) == [e.folder.relative_to(zoo.root).as_posix() for e in zoo.entries()]
    assert gc(zoo) == []
    assert sorted(p.name for p in zoo.root.glob(".staging/*")) == []
    verify = [sys.executable, "-m", "xstilts", "--zoo", str(zoo.root), "zoo", "verify"]
    clean = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (clean.returncode, clean.stdout) == (0, "every module is whole\n"), clean.stderr
    print(f"{seconds} s of {PROCESSES} processes: {counts}, {looks} looks, {len(there)} left")
