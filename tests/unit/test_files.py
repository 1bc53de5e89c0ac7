from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xstilts.files import (
    atomic_file,
    atomic_folder,
    create_json,
    json_text,
    scratch_folder,
    without_nan,
    write_json,
)

BROKEN = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("number", BROKEN)
def test_json_refuses_what_it_has_no_word_for_and_leaves_the_file(number, tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"score": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"scores": [1.0, number]})
    assert json.loads(path.read_text()) == {"score": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        create_json(tmp_path / "b.json", {"score": number})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("number", BROKEN)
def test_a_statistic_that_is_not_there_is_null(number):
    value = {"p": number, "rows": [{"r": (0.5, number)}], "name": "x", "n": 3, "none": None}
    assert json.loads(json_text(without_nan(value))) == {
        "p": None,
        "rows": [{"r": [0.5, None]}],
        "name": "x",
        "n": 3,
        "none": None,
    }


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(ValueError, match="halfway"), atomic_file(path) as temporary:
        temporary.write_text("two")
        raise ValueError("halfway")
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_the_disk_has_what_was_written_before_its_name_is_there(tmp_path, monkeypatch):
    settled = []

    def fsync(number):
        name = Path(f"/proc/self/fd/{number}").readlink().name
        settled.append(name.rsplit(".", 1)[0].strip("."))
        assert not {"a.json", "b.json", "c"} & {path.name for path in tmp_path.iterdir()}

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_folder(tmp_path / "c") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "weights.bin").write_bytes(b"1")
    assert settled == ["weights"]
    shutil.rmtree(tmp_path / "c")
    write_json(tmp_path / "a.json", {})
    (tmp_path / "a.json").unlink()
    create_json(tmp_path / "b.json", {})
    assert settled == ["weights", "a.json", "b.json"]


def test_two_writers_of_one_file_write_beside_each_other(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_file(path) as first, atomic_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"


def test_writers_of_one_folder_at_once_leave_one_whole_folder(tmp_path):
    path, rounds = tmp_path / "shard", 150

    def write(text):
        for _ in range(rounds):
            with atomic_folder(path) as folder:
                (folder / "a").write_text(text)
                (folder / "b").write_text(text)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "wxyz"))
    assert (path / "a").read_text() == (path / "b").read_text()
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys, tempfile
tempfile.tempdir = sys.argv[1]
from xstilts.files import scratch_folder
with scratch_folder("push") as folder:
    (folder / "weights").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_and_what_is_in_use_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 2
    with scratch_folder("push") as used:
        (used / "weights").write_text("mine")
        with scratch_folder("sign") as other:
            assert {used, other} == {path for path in tmp_path.iterdir() if path.is_dir()}
        assert (used / "weights").read_text() == "mine"
    assert not left & {path.name for path in tmp_path.iterdir()}
    assert not list(tmp_path.iterdir())
