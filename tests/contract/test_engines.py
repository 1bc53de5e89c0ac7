"""What every engine must do; a new file in `grid/engines/` is found by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import grid_toy
from support.grid_toy import layered, plan

from xstilts.config.specs import Spec
from xstilts.errors import XstiltsError
from xstilts.grid.engines import ENGINES, STARTS, WorkerPool
from xstilts.grid.state import OPEN, read_json
from xstilts.train.signals import StopRequest

TESTS = Path(grid_toy.__file__).parents[1]
NEEDS = {"ray": "ray", "slurm": "submitit"}
SLOW = {"ray"}
SETTINGS = {"slurm": {"cluster": "local", "minutes": 2}}


@pytest.fixture(
    params=[pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in ENGINES.names()]
)
def engine(request):
    """Module and options of an engine that runs here."""
    if find_spec(NEEDS.get(request.param, "os")) is None:
        pytest.skip(f"{NEEDS[request.param]} is not installed")
    made = ENGINES.get(request.param)
    return made, made.Options(**SETTINGS.get(request.param, {}))


def pool(root, folder, cells, seconds, command=()):
    def is_over():
        return not any(status in OPEN for status in folder.statuses(cells).values())

    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return WorkerPool(
        command or ("-m", "support.grid_toy", str(root), str(seconds)),
        2,
        root / "logs",
        is_over,
        cancel=lambda: folder.cancel_study("toy"),
        environment={"PYTHONPATH": path},
    )


def test_it_states_the_contract(engine):
    made, options = engine
    assert made.__doc__
    assert issubclass(made.Options, Spec)
    assert isinstance(options, made.Options)


def test_it_finishes_a_grid(engine, tmp_path):
    cells = layered(4)
    folder = plan(tmp_path, cells)
    made, options = engine
    made.run(pool(tmp_path, folder, cells, 0.02), options, StopRequest())
    assert set(folder.statuses(cells).values()) == {"done"}
    owners = {read_json(folder.folder(cell.key) / "done.json")["pid"] for cell in cells}
    assert os.getpid() not in owners


def test_a_signal_ends_its_workers_and_frees_their_cells(engine, tmp_path):
    cells = layered(4)
    folder = plan(tmp_path, cells)
    made, options = engine
    stop = StopRequest()

    def signalled():
        while "running" not in folder.statuses(cells).values():
            time.sleep(0.02)
        stop.number = signal.SIGTERM

    thread = threading.Thread(target=signalled)
    thread.start()
    made.run(pool(tmp_path, folder, cells, 30.0), options, stop)
    thread.join()
    statuses = list(folder.statuses(cells).values())
    assert set(statuses) <= {"ready", "waiting"}
    assert all(folder.failures(cell.key) == [] for cell in cells)


def test_workers_that_cannot_start_are_an_error(tmp_path):
    cells = layered(1)
    folder = plan(tmp_path, cells)
    made = ENGINES.get("local")
    broken = pool(tmp_path, folder, cells, 0.0, ("-c", "import sys; sys.exit(4)"))
    with pytest.raises(XstiltsError, match=f"{STARTS} workers in a row ended with exit code 4"):
        made.run(broken, made.Options(), StopRequest())


@pytest.mark.long
def test_a_worker_that_is_killed_is_followed_by_another(tmp_path):
    cells = layered(8)
    folder = plan(tmp_path, cells)
    made = ENGINES.get("local")
    killed = []

    def kill_one():
        running = [c for c in cells if folder.statuses(cells)[c.key] == "running"]
        if running and len(killed) < 3:
            from xstilts.grid.lease import newest

            pid = newest(folder.folder(running[0].key))[1]["pid"]
            if pid not in killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    staff = pool(tmp_path, folder, cells, 0.2)
    staff.show_progress = kill_one
    made.run(staff, made.Options(), StopRequest())
    assert len(killed) == 3
    assert set(folder.statuses(cells).values()) == {"done"}


@pytest.mark.slow
def test_a_ray_of_this_machine_listens_on_the_loopback_interface_only(tmp_path):
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    cells = layered(1)
    folder = plan(tmp_path, cells)
    made, nodes = ENGINES.get("ray"), []

    def look():
        import ray

        nodes.extend(node["NodeManagerAddress"] for node in ray.nodes())

    staff = pool(tmp_path, folder, cells, 0.0)
    staff.show_progress = look
    made.run(staff, made.Options(), StopRequest())
    assert set(nodes) == {"127.0.0.1"}
