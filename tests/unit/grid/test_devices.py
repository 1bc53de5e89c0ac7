"""Which GPU each worker gets, and what `--device` means to the workers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from xstilts.cli import grid_commands, main
from xstilts.cli.grid_commands import _global_options
from xstilts.cli.state import State
from xstilts.grid import drive, engines
from xstilts.grid.drive import default_workers
from xstilts.grid.engines import WorkerPool, local, ray
from xstilts.session import Session
from xstilts.train.signals import StopRequest

SAYS = ("-c", "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))")


@pytest.mark.parametrize(
    ("visible", "found", "gpus", "given"),
    [
        (None, 2, -1, ["0", "1", "0"]),
        ("2,3", 2, -1, ["2", "3", "2"]),
        ("GPU-8932f937, GPU-d72b1dd0", 2, -1, ["GPU-8932f937", "GPU-d72b1dd0", "GPU-8932f937"]),
        ("4,5,6", 3, 2, ["4", "5", "4"]),
        ("2,-1,3", 1, -1, ["2", "2", "2"]),  # what stands after -1 is not seen
        ("", 0, -1, ["", "", ""]),
        (None, 0, -1, ["None", "None", "None"]),
        (None, 4, 0, ["None", "None", "None"]),
    ],
)
def test_workers_get_the_visible_devices_in_turn(
    visible, found, gpus, given, tmp_path, monkeypatch
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    pool = WorkerPool(SAYS, len(given), tmp_path, lambda: True)
    local.run(pool, local.Options(gpus=gpus), StopRequest())
    slots = range(len(given))
    assert [local.log_file(tmp_path, slot).read_text().strip() for slot in slots] == given


def test_workers_are_as_many_as_the_devices_that_they_run_on(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 64)
    monkeypatch.setattr(drive, "cores", lambda: 8)
    assert (default_workers(""), default_workers("cuda"), default_workers("cpu")) == (64, 64, 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert default_workers("") == 8


def test_workers_run_on_the_device_of_the_command(tmp_path):
    for device, passed in (("", []), ("cpu", ["--device", "cpu"])):
        session = Session(zoo=tmp_path, results=tmp_path, device=device)
        places = ["--zoo", str(tmp_path), "--results", str(tmp_path)]
        assert _global_options(State(session)) == [*places, *passed]


@pytest.mark.parametrize(("device", "gpus"), [("", 1.0), ("cpu", 0.0)])
def test_ray_keeps_no_gpu_for_workers_on_the_cpu(device, gpus, tmp_path):
    asked = []

    def remote(**resources):
        asked.append(resources["num_gpus"])
        return lambda _worker: None

    pool = WorkerPool(SAYS, 0, tmp_path, lambda: True, device=device)
    cluster = SimpleNamespace(remote=remote, cluster_resources=lambda: {"GPU": 2.0})
    ray._staff(cluster, pool, ray.Options(), StopRequest())
    assert asked == [gpus]


REFUSED = [
    (("--device", "cuda:3"), 2, "CUDA_VISIBLE_DEVICES=3, without --device"),
    (("--engine", "raj"), 4, "no engine named 'raj'"),
    (("--engine-option", "thread=2"), 2, "Did you mean 'threads'"),
    (("--engine", "ray"), 2, "pip install 'xstilts[ray]'"),
    (("--engine", "slurm"), 2, "pip install 'xstilts[slurm]'"),
]


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(("words", "code", "said"), REFUSED, ids=[" ".join(r[0]) for r in REFUSED])
def test_what_no_worker_can_have_is_refused_before_a_study_is_planned(
    words, code, said, dry, monkeypatch, capsys
):
    monkeypatch.setattr(engines, "find_spec", lambda _name: None)
    monkeypatch.setattr(grid_commands, "_chosen", lambda *_: pytest.fail("the study is read"))
    with pytest.raises(SystemExit) as caught:
        main(["grid", "run", "scripts", *words, *dry])
    assert (caught.value.code, said in capsys.readouterr().err) == (code, True)
