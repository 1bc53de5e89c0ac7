"""Workers finish a grid whatever happens to them."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import grid_toy
from support.grid_toy import cell, layered, plan, worker

from xstilts.errors import (
    DataError,
    DiskError,
    IntegrityError,
    LaterVersionError,
    NetworkError,
    PreemptedError,
)
from xstilts.grid.cell import with_ancestors
from xstilts.grid.drive import study_progress
from xstilts.grid.lease import claim
from xstilts.grid.plan import drop_lost
from xstilts.grid.retries import (
    LOST_ATTEMPTS,
    attempts,
    failure_record,
    lost_record,
    used_up,
    wait_seconds,
)

TESTS = Path(grid_toy.__file__).parents[1]


def start(root, seconds=0.0):
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "support.grid_toy", str(root), str(seconds)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class Clock:
    """Time that passes only while a worker sleeps."""

    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    @property
    def settings(self):
        return {"sleep": self.sleep, "clock": lambda: self.now}


def marks(root):
    return list((root / "grid").glob("cells/*/*/done.json"))


def expected(cells):
    values = {}
    for made in cells:
        values[made.key] = made.job["value"] + sum(values[key] for key in made.parents)
    return values


def test_a_grid_is_computed_once(tmp_path):
    cells = layered(3)
    folder = plan(tmp_path, cells)
    first = worker(tmp_path)
    assert set(first.work().values()) == {"done"}
    assert first.computed == len(cells) == 10
    assert {c.key: folder.outcome(c.key)["value"] for c in cells} == expected(cells)
    again = worker(tmp_path)
    again.work()
    assert again.computed == 0


def test_progress_names_what_is_running():
    cells = layered(1)
    words = ("done", "running", "failed", "waiting")
    statuses = {made.key: word for made, word in zip(cells, words, strict=True)}
    assert study_progress(cells, statuses) == ("2 of 4 cells, now child0.1", 0.5)
    assert study_progress(cells, dict.fromkeys(statuses, "ready")) == ("0 of 4 cells", 0.0)


def test_cells_of_the_loaded_backbone_come_first(tmp_path):
    cells = [cell(f"c{n}", value=n, backbone="ab"[n % 2]) for n in range(6)]
    plan(tmp_path, cells)
    lines = []
    worker(tmp_path, note=lines.append).work()
    order = [line.split()[1][:2] for line in lines if "attempt" in line]
    assert order == ["c0", "c2", "c4", "c1", "c3", "c5"]


@pytest.mark.parametrize(("kind", "tries"), [("usage", 1), ("network", 5), ("bug", 2)])
def test_a_failing_cell_is_tried_by_its_error_class_and_the_rest_is_finished(tmp_path, kind, tries):
    good, bad = cell("good", value=1), cell("bad", error=kind)
    cells = [good, bad, cell("below", bad, value=1), cell("fine", good, value=1)]
    folder = plan(tmp_path, cells)
    statuses = worker(tmp_path, **Clock().settings).work()
    assert [statuses[c.key] for c in cells] == ["done", "failed", "blocked", "done"]
    failures = folder.failures(bad.key)
    assert len(failures) == tries
    assert failures[-1]["what"] == "bad always fails"
    assert bool(failures[-1]["trace"]) == (kind == "bug")
    assert worker(tmp_path).work() == statuses
    assert len(folder.failures(bad.key)) == tries
    folder.forgive(bad.key)
    assert folder.failures(bad.key) == []
    assert worker(tmp_path, **Clock().settings).work() == statuses
    assert len(folder.failures(bad.key)) == tries


def test_a_cell_waits_longer_after_each_network_error_and_others_go_first(tmp_path):
    bad = cell("bad", error="network")
    folder = plan(tmp_path, [bad, cell("good", value=1)])
    clock, lines = Clock(), []
    worker(tmp_path, note=lines.append, **clock.settings).work()
    assert clock.now == 2 + 4 + 8 + 16
    assert [line.split()[1] for line in lines[:3]] == ["bad:", "bad:", "good:"]
    assert len(folder.failures(bad.key)) == 5


def test_other_workers_wait_too_and_ctrl_c_ends_the_wait(tmp_path):
    bad = cell("bad", error="network")
    folder = plan(tmp_path, [bad])

    def interrupted(_seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker(tmp_path, sleep=interrupted).work()
    assert list(folder.statuses([bad]).values()) == ["ready"]
    clock = Clock()
    worker(tmp_path, **clock.settings).work()
    assert clock.now == 2 + 4 + 8 + 16


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (NetworkError("x"), 4),
        (TimeoutError("x"), 4),
        (DiskError("x"), 0),
        (DataError("x"), 0),
        (ZeroDivisionError("x"), 0),
    ],
)
def test_only_what_may_pass_is_waited_for(error, seconds):
    record = failure_record(error, "")
    assert wait_seconds([record, record]) == seconds
    assert wait_seconds([record] * 10) == (60 if seconds else 0)
    assert wait_seconds([record, lost_record({"owner": "o", "host": "h", "pid": 1})]) == 0
    assert wait_seconds([]) == 0


def test_a_full_disk_is_named_and_not_tried_again(tmp_path):
    folder = plan(tmp_path, [one := cell("one", value=1)])
    made = worker(tmp_path)

    def run(_cell):
        raise OSError(errno.ENOSPC, "No space left on device", "weights.safetensors")

    made.run = run
    assert list(made.work().values()) == ["failed"]
    (failure,) = folder.failures(one.key)
    assert (failure["error"], failure["code"]) == ("DiskError", "XS-DISK")
    assert failure["where"] == "weights.safetensors"
    assert failure["hint"].startswith("Make room")


def test_attempts_follow_the_nearest_class():
    assert attempts(DataError("x")) == 1
    assert attempts(NetworkError("x")) == 5
    assert attempts(MemoryError()) == 2
    lost = {**lost_record({"owner": "o", "host": "h", "pid": 1}), "attempt": 1}
    assert not used_up([lost] * (LOST_ATTEMPTS - 1))
    assert used_up([lost] * LOST_ATTEMPTS)


def test_a_cancelled_cell_is_left_out_until_it_is_retried(tmp_path):
    cells = [cell("a", value=1), cell("b", value=2)]
    folder = plan(tmp_path, cells)
    folder.cancel(cells[0].key)
    assert list(worker(tmp_path).work().values()) == ["cancelled", "done"]
    folder.forgive(cells[0].key)
    assert list(worker(tmp_path).work().values()) == ["done", "done"]


def test_a_cancelled_study_stops_its_workers(tmp_path):
    folder = plan(tmp_path, layered(2))
    folder.cancel_study("toy")
    with pytest.raises(PreemptedError, match="cancelled") as caught:
        worker(tmp_path).work()
    assert caught.value.hint == "Go on with the xstilts grid run that started it."
    assert marks(tmp_path) == []
    folder.allow_study("toy")
    assert set(worker(tmp_path).work().values()) == {"done"}


def test_a_running_cell_that_is_cancelled_is_stopped_and_the_next_begins(tmp_path):
    cells = [cell("long", value=1), cell("next", value=2)]
    folder = plan(tmp_path, cells)
    made = worker(tmp_path, beat_seconds=0.02)
    plain = made.run

    def run(one):
        if one.name == "long":
            folder.cancel(one.key)
            time.sleep(20)
        return plain(one)

    made.run = run
    began = time.monotonic()
    assert list(made.work().values()) == ["cancelled", "done"]
    assert time.monotonic() - began < 10


def test_a_cell_that_was_finished_while_a_lease_was_taken_is_not_computed_again(tmp_path):
    one = cell("one", value=1)
    folder = plan(tmp_path, [one])
    slow = worker(tmp_path)
    lease = claim(folder.folder(one.key), slow.owner, slow.watch)
    assert folder.finish(one, lease, {"value": 1}, 0.0)
    assert not folder.finish(one, lease, {"value": 2}, 0.0)
    slow._attempt(one, lease)
    assert (slow.computed, folder.outcome(one.key)) == (0, {"value": 1})


def test_a_cell_needs_its_ancestors():
    root = cell("root", value=1)
    middle, other = cell("middle", root, value=1), cell("other", value=1)
    last = cell("last", middle, value=1)
    cells = [root, middle, other, last]
    assert with_ancestors(cells, {last.key}) == {root.key, middle.key, last.key}


@pytest.mark.parametrize("step", ["note_lost", "finish", "fail"])
def test_a_signal_beside_the_computing_leaves_no_lease_and_no_failure(step, tmp_path):
    first = cell("first", value=1) if step != "fail" else cell("first", error="usage")
    cells = [first, cell("next", value=2)]
    folder = plan(tmp_path, cells)
    made = worker(tmp_path)
    plain = getattr(made.folder, step)

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return plain(*arguments)

    setattr(made.folder, step, signalled)
    with pytest.raises(PreemptedError, match="stopped by SIGTERM"):
        made.work()
    expected = {"note_lost": "ready", "finish": "done", "fail": "failed"}[step]
    assert list(folder.statuses(cells).values()) == [expected, "ready"]
    worker(tmp_path).work()
    lost = [one["error"] for c in cells for one in folder.failures(c.key)]
    assert lost == (["UsageError"] if step == "fail" else [])


def test_a_cell_that_is_cancelled_as_it_ends_stops_no_worker(tmp_path, monkeypatch):
    cells = [cell("first", value=1), cell("next", value=2)]
    folder = plan(tmp_path, cells)
    made = worker(tmp_path, beat_seconds=0.02)
    plain_run, plain_finish, kill, late = made.run, made.folder.finish, os.kill, []
    monkeypatch.setattr("xstilts.grid.worker.os.kill", lambda *signalled: late.append(signalled))

    def run(one):
        if one.name == "first":
            folder.cancel(one.key)
            while not late:
                time.sleep(0.01)
        return plain_run(one)

    def finish(*arguments):
        if late:
            kill(*late.pop())
        return plain_finish(*arguments)

    made.run, made.folder.finish = run, finish
    assert list(made.work().values()) == ["done", "done"]


@pytest.mark.parametrize("error", [OSError("x"), SystemExit(1)])
def test_a_lease_is_given_back_whatever_happens(error, tmp_path):
    folder = plan(tmp_path, cells := [cell("one", value=1)])
    made = worker(tmp_path)

    def fail(*_arguments):
        raise error

    made.folder.finish = made.folder.fail = fail
    with pytest.raises(type(error)):
        made.work()
    assert list(folder.statuses(cells).values()) == ["ready"]
    assert set(worker(tmp_path).work().values()) == {"done"}
    assert folder.failures(cells[0].key) == []


def wait_until_running(folder, cells):
    deadline = time.monotonic() + 20
    while "running" not in folder.statuses(cells).values() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_sigterm_ends_a_worker_with_75_and_the_cell_is_free(tmp_path):
    cells = layered(2)
    folder = plan(tmp_path, cells)
    process = start(tmp_path, 5.0)
    wait_until_running(folder, cells)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 75
    assert Counter(folder.statuses(cells).values())["running"] == 0
    assert all(folder.failures(c.key) == [] for c in cells)


@pytest.mark.long
@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_of_random_workers_lose_and_repeat_nothing(tmp_path, kills):
    cells = layered(2 * kills)
    folder = plan(tmp_path, cells)
    draw = random.Random(5)
    workers = [start(tmp_path, 0.05) for _ in range(3)]
    for _ in range(kills):
        wait_until_running(folder, cells)  # on a busy machine a process takes long to begin
        time.sleep(draw.uniform(0.0, 0.3))
        victim = draw.randrange(len(workers))
        workers[victim].kill()
        workers[victim].wait()
        workers[victim] = start(tmp_path, 0.05)
    assert [process.wait(120) for process in workers] == [0, 0, 0]
    assert set(folder.statuses(cells).values()) == {"done"}
    assert {c.key: folder.outcome(c.key)["value"] for c in cells} == expected(cells)
    assert len(marks(tmp_path)) == len(cells)
    for path in (tmp_path / "grid").rglob("*.json"):
        if not path.name.startswith("."):
            json.loads(path.read_text())
    lost = [one for c in cells for one in folder.failures(c.key)]
    assert lost  # some were cut off while they computed
    assert {one["error"] for one in lost} == {"WorkerLost"}


DAMAGED = [b"", b"\0" * 40, b"{", b"[]", b"null", b"7", b"{}", b'{"outcome": 3}', b"\xff\xfe"]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_outcome_is_named_and_computed_again(content, tmp_path):
    cells = layered(1)
    folder = plan(tmp_path, cells)
    worker(tmp_path).work()
    corrupted = folder.folder(cells[0].key) / "done.json"
    corrupted.write_bytes(content)
    with pytest.raises(IntegrityError, match="a grid file is broken") as caught:
        folder.outcome(cells[0].key)
    assert caught.value.where == str(corrupted)
    assert "grid run" in caught.value.hint
    context = SimpleNamespace(folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        there = SimpleNamespace(is_there=lambda outcome, _context: outcome["value"] >= 0)
        patch.setattr("xstilts.grid.plan.KINDS", {"toy": there})
        assert drop_lost(folder.load("toy"), context) == [cells[0]]
    again = worker(tmp_path)
    assert set(again.work().values()) == {"done"}
    assert again.computed == 1


@pytest.mark.parametrize("later", ["done.json", "outcome"])
def test_what_a_later_version_wrote_is_not_computed_again(later, tmp_path):
    cells = layered(1)
    folder = plan(tmp_path, cells)
    worker(tmp_path).work()
    done = folder.folder(cells[0].key) / "done.json"
    if later == "done.json":
        done.write_text(done.read_text().replace("xstilts.grid/1", "xstilts.grid/2"))

    def is_there(outcome, _context):
        raise LaterVersionError("a result cell has schema 99")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xstilts.grid.plan.KINDS", {"toy": SimpleNamespace(is_there=is_there)})
        with pytest.raises(LaterVersionError, match="has schema") as caught:
            drop_lost(folder.load("toy"), SimpleNamespace(folder=folder))
    assert caught.value.hint == "Update xstilts."
    assert len(marks(tmp_path)) == len(cells)


def test_a_mark_that_somebody_else_took_back_may_be_taken_back(tmp_path):
    folder = plan(tmp_path, cells := layered(1))
    worker(tmp_path).work()
    for _ in range(2):
        folder.forget(cells[0].key)
    assert folder.outcome(cells[0].key) is None


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_failure_counts_as_one(content, tmp_path):
    folder = plan(tmp_path, cells := [cell("bad", error="usage")])
    worker(tmp_path).work()
    (path,) = folder.folder(cells[0].key).glob("failure-*.json")
    path.write_bytes(content)
    (failure,) = folder.failures(cells[0].key)
    assert not used_up([failure])
    assert folder.statuses(cells)[cells[0].key] == "ready"
    assert used_up([failure, failure])


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_plan_is_named(content, tmp_path):
    folder = plan(tmp_path, layered(1))
    path = folder.study_folder("toy") / "plan.json"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="a grid file is broken") as caught:
        folder.load("toy")
    assert "grid run" in caught.value.hint


@pytest.mark.parametrize("last", [True, False])
def test_a_plan_of_another_version_is_named(last, tmp_path):
    folder = plan(tmp_path, layered(1))
    study = folder.study_folder("toy")
    path = study / "plan.json" if last else next((study / "plans").iterdir())
    path.write_text(path.read_text().replace("xstilts.grid/1", "xstilts.grid/2"))
    with pytest.raises(IntegrityError, match="the plan of study toy is of another") as caught:
        folder.load("toy", "" if last else path.stem)
    assert caught.value.where == str(path)
    assert "xstilts grid run plans it anew" in caught.value.hint


def test_files_that_are_none_of_ours_beside_a_lease_change_nothing(tmp_path):
    folder = plan(tmp_path, cells := layered(1))
    place = folder.folder(cells[0].key)
    place.mkdir(parents=True)
    for name in ("lease-copy.json", "lease-000009 (1).json", "failure-x.json", "retry-.json"):
        (place / name).write_text("{}")
    assert set(worker(tmp_path).work().values()) == {"done"}
