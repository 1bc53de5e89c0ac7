"""What a result's last bits depend on is recorded; a training repeats with it, and only with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.long

TESTS = Path(__file__).parents[2]
SCRIPT = """
import json, sys
from pathlib import Path
from support.toy import Toy, trainer
from xstilts.backbone.machine import machine
model = Toy()
trainer(Path(sys.argv[1]), model).run()
weights = [x for p in model.parameters() for x in p.detach().flatten().tolist()]
print(json.dumps({"machine": machine(), "weights": weights}))
"""


def trained(folder, **environment):
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    known = os.environ | {"PYTHONPATH": path} | environment
    return json.loads(subprocess.run(command, env=known, capture_output=True, check=True).stdout)


def test_the_same_kernels_give_the_same_bits_and_others_are_recorded(tmp_path):
    first, again = (trained(tmp_path / name) for name in ("first", "again"))
    plain = trained(tmp_path / "plain", ATEN_CPU_CAPABILITY="default")
    assert first == again
    assert plain["machine"]["kernels"] == "DEFAULT"
    assert set(first["machine"]) >= {"cpu", "threads", "torch", "kernels", "onednn", "blas"}
    # Other kernels sum in another order: near for a training this short, bit-equal by luck only.
    gap = np.abs(np.subtract(first["weights"], plain["weights"])).max()
    assert gap < 1e-3
    changed = {k for k, value in first["machine"].items() if value != plain["machine"][k]}
    assert changed == ({"kernels"} if first["machine"]["kernels"] != "DEFAULT" else set())
