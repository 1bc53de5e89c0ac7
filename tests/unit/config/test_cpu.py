"""Threads of a process on a shared machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from xstilts.config import cpu

UNSET = {k: v for k, v in os.environ.items() if k not in (*cpu.WAITING, *cpu.COUNTS)}


@pytest.fixture
def of_eight(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "_allowed", lambda: 8)
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [("150000 100000", 2), ("400000 100000", 4), ("max 100000", 8), ("20000 100000", 1), ("?", 8)],
)
def test_a_quota_bounds_the_cores(of_eight, text, expected):
    (of_eight / "cpu.max").write_text(text)
    assert cpu.cores() == expected


def test_the_older_control_group_is_read_too(of_eight):
    (of_eight / "cpu").mkdir()
    (of_eight / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    quota = of_eight / "cpu" / "cpu.cfs_quota_us"
    quota.write_text("300000\n")
    assert cpu.cores() == 3
    quota.write_text("-1\n")
    assert cpu.cores() == 8


def test_what_the_user_has_set_stays(of_eight):
    (of_eight / "cpu.max").write_text("200000 100000")
    environment = {}
    cpu.share_the_machine(environment)
    assert environment == {"GOMP_SPINCOUNT": cpu.SPINS, "OMP_NUM_THREADS": "2"}
    chosen = {"OMP_WAIT_POLICY": "ACTIVE", "MKL_NUM_THREADS": "5"}
    cpu.share_the_machine(environment := dict(chosen))
    assert environment == chosen


def test_threads_without_a_quota_are_left_to_torch(of_eight):
    environment = {}
    cpu.share_the_machine(environment)
    assert environment == {"GOMP_SPINCOUNT": cpu.SPINS}


def test_the_command_line_sets_it_before_torch_loads():
    code = (
        "import os, sys; from xstilts.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=UNSET
    )
    assert done.stdout.splitlines()[-1] == f"{cpu.SPINS} False"


def test_a_process_that_has_loaded_torch_is_left_alone(monkeypatch):
    for name in (*cpu.WAITING, *cpu.COUNTS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", sys)
    cpu.share_the_machine()
    assert not any(name in os.environ for name in (*cpu.WAITING, *cpu.COUNTS))
