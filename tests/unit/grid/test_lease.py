"""Leases: one owner at a time, and a new one when the old one is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from xstilts.files import create_json
from xstilts.grid import lease as leases
from xstilts.grid.lease import Owner, Watch, claim, newest


@pytest.fixture
def owner():
    return Owner.of_this_process()


@pytest.fixture
def elsewhere(owner):
    return replace(owner, id="far-1", host="far", space="another machine")


def test_only_one_of_many_creates_a_file(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: create_json(tmp_path / "x" / "mark.json", n), range(64)))
    assert sum(won) == 1
    assert json.loads((tmp_path / "x" / "mark.json").read_text()) == won.index(True)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["mark.json"]


def test_only_one_of_many_gets_a_lease(tmp_path, owner):
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: claim(tmp_path, owner, Watch()), range(64)))
    assert [lease.number for lease in found if lease] == [1]


def test_a_lease_that_is_held_is_not_given_twice(tmp_path, owner):
    first = claim(tmp_path, owner, Watch())
    assert claim(tmp_path, owner, Watch()) is None
    first.release("failed")
    second = claim(tmp_path, owner, Watch())
    assert (second.number, second.lost) == (2, None)


def test_the_lease_of_a_dead_process_is_taken_over_at_once(tmp_path, owner):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    dying = replace(owner, id="dying", pid=child.pid, started=leases._started(child.pid))
    claim(tmp_path, dying, Watch())
    assert claim(tmp_path, owner, Watch()) is None
    child.kill()
    child.wait()
    taken = claim(tmp_path, owner, Watch())
    assert (taken.number, taken.lost["owner"]) == (2, "dying")


def test_a_process_number_that_is_used_again_is_another_process(tmp_path, owner):
    claim(tmp_path, replace(owner, started=owner.started - 1), Watch())
    assert claim(tmp_path, owner, Watch()).number == 2


def test_a_worker_elsewhere_lives_as_long_as_its_heart_beats(
    tmp_path, owner, elsewhere, monkeypatch
):
    now = 0.0
    monkeypatch.setattr(leases.time, "monotonic", lambda: now)
    far, watch = claim(tmp_path, elsewhere, Watch()), Watch(stale_seconds=60)
    assert claim(tmp_path, owner, watch) is None
    now = 59.0
    far.renew()
    assert claim(tmp_path, owner, watch) is None
    now = 118.0
    assert claim(tmp_path, owner, watch) is None
    now = 120.0
    assert claim(tmp_path, owner, watch).number == 2
    far.renew()  # it was only asleep: its own lease counts no more
    assert newest(tmp_path)[1]["owner"] == owner.id


@pytest.mark.parametrize("content", ["{", "[]", "null", "{}", '{"state": "held"}'])
def test_a_lease_that_cannot_be_read_is_waited_for(content, tmp_path, owner, monkeypatch):
    now = 0.0
    monkeypatch.setattr(leases.time, "monotonic", lambda: now)
    (tmp_path / "lease-000004.json").write_text(content)
    watch = Watch(stale_seconds=60)
    assert claim(tmp_path, owner, watch) is None
    now = 61.0
    taken = claim(tmp_path, owner, watch)
    assert (taken.number, taken.lost["owner"]) == (5, "unknown")
