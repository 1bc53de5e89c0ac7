"""Memory of merging whole encoders, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

TESTS = Path(__file__).parents[1]
LAYERS = int(os.environ.get("XSTILTS_TEST_LAYERS", "4"))
"""Of 24: the embeddings alone are 1.02 GB, a block is 50 MB."""

PROGRAM = """
import json, resource, sys, threading, time
from pathlib import Path
import torch, transformers.models.xlm_roberta.modeling_xlm_roberta
from xstilts.composition.merge import save_merged
from xstilts.backbone.backbone import Backbone
from xstilts.modules.operators import merge_linear, merge_ties
from xstilts.zoo import Zoo

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

folder, expression = Path(sys.argv[1]), sys.argv[2]
idle = peak()
backbone = Backbone.load(str(folder / "base"), offline=True)
loaded = peak()
entry = save_merged(expression, "merged", Zoo(folder / "zoo"), backbone)
print(json.dumps({"idle": idle, "loaded": loaded, "peak": peak(), "folder": str(entry.folder)}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("large")
    python("-m", "support.large_modules", str(made), str(LAYERS))
    return made


def python(*arguments):
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "expression",
    ["merge_linear(one*0.5, two*0.5)", "merge_ties(one, two, density=0.3)"],
)
def test_two_large_encoders_merge_within_1_3_of_a_checkpoint(folder, expression):
    """Above the idle process: the backbone, whose differences are merged, and pieces."""
    found = json.loads(python("-c", PROGRAM, str(folder), expression))
    merged = Path(found["folder"]) / "model.safetensors"
    size = merged.stat().st_size
    above = {name: (found[name] - found["idle"]) / size for name in ("loaded", "peak")}
    print(f"{expression}, {LAYERS} blocks, {size / 1e9:.2f} GB a checkpoint: {above}")
    assert above["peak"] <= 1.3
    name = "encoder.layer.1.attention.self.query.weight"
    (one,) = (folder / "zoo" / "one").glob("*/*/model.safetensors")
    with safe_open(one, "pt") as left, safe_open(merged, "pt") as right:
        assert left.get_slice(name).get_shape() == right.get_slice(name).get_shape()
        assert not left.get_tensor(name).equal(right.get_tensor(name))
