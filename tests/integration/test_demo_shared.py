"""A demo shared by processes: the same modules and scores, nothing left, found again at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from xstilts import Session
from xstilts.errors import PreemptedError, UsageError
from xstilts.grid.worker import DRIVER
from xstilts.sandbox.demo import MODULES, TARGETS, evaluated, filled
from xstilts.session import demo

TINY = (
    "sandbox:train_rows=64,dev_rows=12,test_rows=12,bitext_rows=8,text_rows=20,pretraining_steps=2"
)
SCORES = 11 * (8 + 7)
"""Rows of the table times languages of XNLI and of Tatoeba."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "CACHE"):
            patch.setenv(f"XSTILTS_{name}", str(folder / name.lower()))
        yield folder


def session_in(place, name):
    return Session(world=TINY, zoo=place / name / "zoo", results=place / name / "results")


@pytest.fixture(scope="module")
def shared(place):
    """A demo that a second process shared, and the processes that were started for it."""
    started = []
    real = subprocess.Popen

    def start(*given, **how):
        started.append(real(*given, **how))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "cores", lambda: 2)
        patch.setattr(demo.subprocess, "Popen", start)
        session = session_in(place, "shared")
        return session, session.demo([1]), started


def digests(session):
    return {entry.manifest.run: entry.manifest.digest for entry in session.zoo.entries()}


def values(result):
    return {(s.intermediate, s.task, s.language): s.value for s in result.scores if s.main}


@pytest.mark.slow
def test_two_processes_make_what_one_makes(place, shared, monkeypatch):
    session, result, started = shared
    assert len(started) == 1
    assert started[0].poll() is not None  # it ended with the demo
    monkeypatch.setattr(demo, "cores", lambda: 1)
    alone = session_in(place, "alone")
    by_one = alone.demo([1])
    assert len(digests(session)) == len(MODULES) + len(TARGETS)
    assert digests(alone) == digests(session)
    assert len(values(result)) == SCORES
    assert values(by_one) == values(result)
    assert result.outcome.computed == by_one.outcome.computed == SCORES


@pytest.mark.slow
def test_a_process_that_joins_makes_a_whole_demo(place):
    session = session_in(place, "joined")
    folders = {
        "world": TINY,
        "zoo": str(session.zoo_folder),
        "results": str(session.results_folder),
    }
    demo.join_demo(json.dumps({**folders, "seeds": [1]}))
    result = session.demo([1])
    assert (result.outcome.computed, len(result.outcome.cells)) == (0, SCORES)


@pytest.mark.slow
def test_what_is_there_is_found_without_torch(place, shared):
    session, result, _ = shared
    code = (
        "import sys\n"
        "from xstilts import Session\n"
        f"session = Session(world={TINY!r}, zoo={str(session.zoo_folder)!r},"
        f" results={str(session.results_folder)!r})\n"
        "found = session.demo([1])\n"
        "print(sum(s.value for s in found.scores), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(sum(s.value for s in result.scores)), "False"]
    assert done.stderr.count("found ") == len(MODULES) + len(TARGETS)
    assert f"0 cells computed, {SCORES} reused" in done.stderr


def test_a_piece_that_another_process_makes_is_left_to_it(place):
    run = demo._DemoRun(session_in(place, "locks"), [1])
    folder = run.session.runs / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{demo.digest('first')[:16]}.lock", thread_local=False)
    made = []
    lock.acquire()
    threading.Timer(0.5, lock.release).start()
    run._share(["first", "second"], lambda piece: made.append(piece) is None)
    assert made == ["second", "first"]


def test_other_processes_end_with_the_demo(place, monkeypatch):
    run = demo._DemoRun(session_in(place, "ends"), [1])
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(
        demo.subprocess,
        "Popen",
        lambda *given, **how: started.append(real(*given, **how)) or started[-1],
    )
    with pytest.raises(KeyboardInterrupt), run.other_processes(2):
        time.sleep(0.5)
        raise KeyboardInterrupt
    assert [process.poll() is not None for process in started] == [True, True]


def test_a_process_that_joined_stops_when_nobody_waits(place, monkeypatch):
    monkeypatch.setenv(DRIVER, str(os.getpid()))  # no parent of this process
    run = demo._DemoRun(session_in(place, "gone"), [1])
    with pytest.raises(PreemptedError, match="is gone"):
        run._share(["piece"], lambda _piece: True)


def test_expressions_of_the_demo():
    made = {"mnli/lora": "@1", "qqp/lora": "@2"}
    assert filled("average(mnli/lora, qqp/lora)", made) == "average(@1, @2)"
    assert filled("stack(qqp/seq_bn, mnli/seq_bn)", made) is None
    names = [module.reference for module in (*MODULES, *TARGETS.values())]
    asked = evaluated({name: f"@{number}" for number, name in enumerate(names)})
    assert len(asked) == 22
    assert ("@3", "xnli", "mnli/seq_bn") in asked  # the fourth module
    assert ("none", "tatoeba", "none") in asked
    assert ("fuse(@1, @2)", "tatoeba", "fuse(mnli/lora, qqp/lora)") in asked


def test_a_demo_needs_a_world():
    with pytest.raises(UsageError, match="needs a world"):
        Session().demo()
