"""Which GPU each worker gets, and what `--device` means to the workers."""

from __future__ import annotations

import pytest
import torch

from xstilts.grid.engines import WorkerPool, local
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
