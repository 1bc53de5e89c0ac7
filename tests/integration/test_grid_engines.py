"""The same study by every engine, and under fire; minutes, so only with `-m slow`."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from xstilts.grid.lease import newest
from xstilts.grid.retries import LOST_ATTEMPTS
from xstilts.grid.state import GridFolder

pytestmark = pytest.mark.slow
WORLD = (
    "sandbox:train_rows=120,dev_rows=30,test_rows=30,bitext_rows=30,text_rows=60,"
    "pretraining_steps=4"
)
STUDY = """
question: Does every engine give the same?
intermediates: [none, mnli, qqp]
targets: [xnli, tatoeba]
seeds: {seeds}
sandbox:
  intermediate: {{method: seq_bn, train: {{max_steps: {steps}, checkpoint_every: 5}}}}
  target: {{method: seq_bn, train: {{max_steps: {steps}, checkpoint_every: 5}}}}
"""
ENGINES = {"local": (), "ray": (), "slurm": ("--set", "cluster=local")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache in which the world is built once."""
    return tmp_path_factory.mktemp("cache")


def start(home: Path, cache: Path, *arguments: str) -> subprocess.Popen:
    """`xstilts` as a process of its own, with its own library and results."""
    environment = {**os.environ, "XSTILTS_HOME": str(home), "XSTILTS_CACHE": str(cache)}
    command = [sys.executable, "-m", "xstilts", "--world", WORLD, "--json", "-q", *arguments]
    return subprocess.Popen(
        [*command, "--results", str(home / "results")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> dict:
    output, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    return json.loads(output)


def study(folder: Path, seeds: list[int], steps: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fire.yaml"
    path.write_text(STUDY.format(seeds=seeds, steps=steps))
    return str(path)


def score_rows(home: Path) -> list[str]:
    """Every score row, sorted."""
    paths = (home / "results").glob("cells/*/*/cell.json")
    rows = [row for path in paths for row in json.loads(path.read_text())["scores"]]
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


@pytest.fixture(scope="module")
def by_local(cache, tmp_path_factory):
    home = tmp_path_factory.mktemp("local")
    path = study(home, [1, 2], 6)
    record = finish(start(home, cache, "grid", "run", path, "--workers", "2"))
    assert record["counts"]["done"] == 2 * (2 + 3) + 2 * 3 + 2 * 2 + 1
    return score_rows(home)


@pytest.mark.parametrize("engine", ["ray", "slurm"])
def test_every_engine_gives_the_same_rows(engine, by_local, cache, tmp_path):
    if find_spec({"ray": "ray", "slurm": "submitit"}[engine]) is None:
        pytest.skip("not installed")
    path = study(tmp_path, [1, 2], 6)
    options = ("--engine", engine, "--workers", "2", *ENGINES[engine])
    record = finish(start(tmp_path, cache, "grid", "run", path, *options))
    assert record["counts"]["failed"] == 0
    assert score_rows(tmp_path) == by_local


def test_fifty_kills_of_workers_and_drivers_change_nothing(cache, tmp_path):
    seeds, kills = list(range(1, 13)), 50
    calm, fire = tmp_path / "calm", tmp_path / "fire"
    run = ("grid", "run", study(tmp_path, seeds, 40), "--workers", "2")
    finish(start(calm, cache, *run))
    draw, shot = random.Random(11), {"driver": 0, "worker": 0}
    folder = GridFolder(fire / "results")
    driver = start(fire, cache, *run)
    while sum(shot.values()) < kills and driver.poll() is None:
        time.sleep(draw.uniform(0.3, 4.0))
        lost = working(folder)
        pids = [pid for pid in sorted(lost) if lost[pid] < LOST_ATTEMPTS - 2]
        if driver.poll() is None and draw.random() < 0.15 and len(pids) == len(lost):
            driver.kill()
            driver.communicate()
            driver = start(fire, cache, *run)
            shot["driver"] += 1
        elif pids:
            os.kill(draw.choice(pids), signal.SIGKILL)
            shot["worker"] += 1
    record = finish(driver)
    print(f"\nshot: {shot}")
    assert sum(shot.values()) == kills, "the grid was finished before the fire was"
    planned = folder.load("fire")
    assert record["counts"]["done"] == len(planned.cells)
    marks = list(folder.root.glob("cells/*/*/done.json"))
    assert len(marks) == len(planned.cells)
    for path in (fire / "results").rglob("*.json"):
        json.loads(path.read_text())
    assert score_rows(fire) == score_rows(calm)
    again = finish(start(fire, cache, *run))
    assert again["counts"] == record["counts"]
    assert len(list(folder.root.glob("cells/*/*/lease-*.json"))) >= len(marks) + shot["worker"] / 2


def working(folder: GridFolder) -> dict[int, int]:
    """The processes that compute a cell now, and how many died of it before."""
    if not (folder.study_folder("fire") / "plan.json").exists():
        return {}
    lost = {}
    for cell in folder.load("fire").cells:
        number, record = newest(folder.folder(cell.key))
        if record and record["state"] == "held" and Path(f"/proc/{record['pid']}").exists():
            lost[record["pid"]] = number - 1
    return lost
