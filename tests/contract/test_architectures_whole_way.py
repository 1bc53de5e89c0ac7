"""Every architecture goes the whole way: trained in full, kept, loaded, compiled, exported."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from support.format_files import write_files
from support.models import fresh, randomise, tiny_backbone, tokens
from support.trained import add_module, backbone_folder

from xstilts import Session
from xstilts.backbone.architectures import ARCHITECTURES, architecture_of, model_types
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.packed import unpack
from xstilts.composition.export import TOLERANCE, export, onnx, probe, reference, source
from xstilts.errors import UsageError
from xstilts.zoo import Zoo

FIRSTS = sorted({ARCHITECTURES.get(name).MODEL_TYPES[0] for name in ARCHITECTURES})
LACKING = [n for n in ("onnx", "onnxruntime", "onnxscript") if not importlib.util.find_spec(n)]
needs_onnx = pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}")
SMALL = {
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
    },
    "modernbert": {"local_attention": 6},
}
"""As those that people use: relative positions, and a window shorter than the rows."""


def folder_of(path, model_type):
    """A folder with a random model of two blocks."""
    return backbone_folder(path, model_type, num_hidden_layers=2, **SMALL.get(model_type, {}))


# ------------------------------------------------------------------------------------ full training

STEPS = {"train": {"max_steps": 2, "batch_size": 2}}
SAYS = """
import json, pathlib, sys
from xstilts.backbone.backbone import Backbone
from xstilts.composition.export import probe, reference, source
from xstilts.zoo import Zoo

def said(base, zoo):
    here = Backbone.load(str(base), offline=True)
    chosen = source("sst2/full", Zoo(pathlib.Path(zoo)), here)
    return reference(chosen, *probe(here)).flatten().tolist()
"""
AGAIN = "print(json.dumps([said(*pair) for pair in json.loads(sys.argv[1])]))"


@pytest.mark.long
def test_full_fine_tuning_is_kept_and_the_same_in_another_process(tmp_path, monkeypatch):
    for name in ("home", "cache"):
        monkeypatch.setenv(f"XSTILTS_{name.upper()}", str(tmp_path / name))
    write_files(tmp_path)
    inner: dict = {}
    exec(SAYS, inner)
    wanted, places = [], []
    for model_type in [*FIRSTS, "mt5"]:
        base, zoo = folder_of(tmp_path / model_type, model_type), tmp_path / f"zoo-{model_type}"
        session = Session(
            backbone=str(base), data=tmp_path / "data", zoo=zoo, offline=True, quiet=True
        )
        made = session.train("sst2", method="full", settings=STEPS)
        assert made.manifest.method == "full"
        assert made.manifest.backbone.model_type == model_type
        here = session.backbone()
        trained = source("sst2/full", session.zoo, here).loaded.composed.encoder_weights
        own = here.encoder.state_dict()
        assert sum(not torch.equal(own[key], trained[key]) for key in trained) > 10
        places.append([str(base), str(zoo)])
        wanted.append(inner["said"](*places[-1]))
    run = subprocess.run(
        [sys.executable, "-c", SAYS + AGAIN, json.dumps(places)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    assert json.loads(run.stdout.splitlines()[-1]) == wanted


# -------------------------------------------------------------------------------------- compilation


@pytest.mark.slow
@pytest.mark.parametrize("model_type", model_types())
def test_compiled_blocks_give_the_same(model_type):
    torch._dynamo.reset()
    here = tiny_backbone(model_type, num_hidden_layers=2, **SMALL.get(model_type, {}))
    unpack(here.blocks)
    _, module = fresh("double_seq_bn", here.shape)
    randomise(module)
    with torch.inference_mode(), here.attach(module.at):
        for ids, mask in (tokens(), tokens(2, 7), tokens(1, 12)):
            wanted = here(ids, mask)[mask.bool()]
            with here.compiled():
                found = here(ids, mask)[mask.bool()]
            assert torch.allclose(found, wanted, rtol=0, atol=1e-5)


# --------------------------------------------------------------------------------------------- ONNX

HEADS = ("mnli", "udpos", "squad2", "hellaswag")
"""Tasks whose formats have a head each: classes of a text, of tokens, spans, and choices."""


GRAPHS = [name for name in model_types() if not architecture_of(name).NO_GRAPH]
"""Model types that ONNX can express; see the last test for the others."""


def difference_in_onnx(tmp_path, model_type, task):
    """Of outputs: what the export finds, or of rows that are longer than those, the larger."""
    here = Backbone.load(str(folder_of(tmp_path / "base", model_type)), offline=True)
    zoo, text = Zoo(tmp_path / "zoo"), f"{task}/lora" if task else "none"
    if task:
        add_module(zoo, here, task, "lora")
    made = export("onnx", text, zoo, here, tmp_path / "out")
    longer = onnx._difference(source(text, zoo, here), tmp_path / "out" / onnx.MODEL, (2, 40))
    return max(made.difference, longer)


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("model_type", GRAPHS)
def test_onnx_gives_the_same_for_every_model_type(model_type, tmp_path):
    assert difference_in_onnx(tmp_path, model_type, "mnli") < TOLERANCE


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("model_type", [name for name in FIRSTS if name in GRAPHS])
@pytest.mark.parametrize("task", ["", *HEADS[1:]])
def test_onnx_gives_the_same_for_every_kind_of_head(task, model_type, tmp_path):
    assert difference_in_onnx(tmp_path, model_type, task) < TOLERANCE


@pytest.mark.parametrize("model_type", [*FIRSTS, "mt5"])
@pytest.mark.parametrize("task", ["mnli", "squad2"])
def test_a_graph_reads_what_the_head_reads_or_is_refused(task, model_type, tmp_path):
    here = Backbone.load(str(folder_of(tmp_path / "base", model_type)), offline=True)
    zoo = Zoo(tmp_path / "zoo")
    add_module(zoo, here, task, "lora")
    if why := here.architecture.NO_GRAPH:
        with pytest.raises(UsageError, match=why):
            export("onnx", f"{task}/lora", zoo, here, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    chosen = source(f"{task}/lora", zoo, here)
    ids, mask = probe(here)
    assert not mask.all()
    with torch.no_grad(), chosen.model.attached():
        found = onnx._TracedModel(chosen).eval()(ids, mask)
    assert torch.allclose(found, reference(chosen, ids, mask), atol=1e-5)
