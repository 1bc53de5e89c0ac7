"""A hub that does not answer, and models that do not load whole."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from support.trained import backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.config import hub_models
from xstilts.errors import DataError, NetworkError, OfflineError


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return backbone_folder(tmp_path_factory.mktemp("models") / "good")


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy")


def rewrite(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def corrupted(state, value):
    key = "encoder.layer.1.output.dense.weight"
    return state | {key: torch.full_like(state[key], value)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {f"module.{k}": v for k, v in s.items()}, r"\d\d tensors .* not in the weight"),
        (
            lambda s: {k: v for k, v in s.items() if not k.startswith("encoder.layer.2.")},
            "encoder.layer.2.attention",
        ),
        (
            lambda s: s | {"encoder.layer.0.output.dense.bias": torch.zeros(3)},
            "1 tensors .* of another shape",
        ),
        (lambda s: corrupted(s, float("nan")), "NaN or infinity"),
        (lambda s: corrupted(s, float("inf")), "NaN or infinity"),
    ],
)
def test_weights_that_are_not_whole_are_refused(copy, change, words):
    rewrite(copy, change)
    with pytest.raises(DataError, match=words):
        Backbone.load(str(copy))


def test_tensors_that_an_encoder_does_not_take_are_no_fault(good, copy):
    """A checkpoint with a head for masked words, such as XLM-R's own."""
    rewrite(copy, lambda s: s | {"lm_head.bias": torch.zeros(9)})
    wanted = Backbone.load(str(good)).identity.fingerprint
    assert Backbone.load(str(copy)).identity.fingerprint == wanted


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(copy):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(copy)
    rows = len(tokenizer)
    tokenizer.add_tokens(["[E1]", "[/E1]"])
    tokenizer.save_pretrained(copy)
    with pytest.raises(DataError, match=f"{rows + 2} tokens, the embeddings {rows} rows"):
        Backbone.load(str(copy))


def test_no_advice_about_another_models_tokenizer(copy, capfd):
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"transformers_version": "4.57.6"}))
    library = logging.getLogger("transformers")
    level = library.level
    backbone = Backbone.load(str(copy))
    captured = capfd.readouterr()
    assert "Mistral" not in captured.err + captured.out
    assert library.level == level
    words = ["a", "man", "runs"]
    ids = backbone.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert "".join(backbone.tokenizer.convert_ids_to_tokens(ids)) == "▁a▁man▁runs"


# ----------------------------------------------------------------------------------- no network


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A hub whose name is looked up for ever, and an empty cache."""
    gone = threading.Event()

    def slow(*_arguments, **_options):
        gone.wait(30)
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(constants, "ENDPOINT", f"https://nobody-{tmp_path.name}.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    gone.set()


@pytest.mark.long
def test_a_hub_that_does_not_answer_is_said_in_three_seconds(nobody, tmp_path, caplog):
    snapshot = tmp_path / "cache" / "models--org--there" / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "xlm-roberta"}')
    texts = []
    for offline, kind in ((False, NetworkError), (True, OfflineError)):
        start = time.perf_counter()
        with pytest.raises(kind) as caught:
            Backbone.load("some-org/encoder", offline=offline)
        assert time.perf_counter() - start < 3
        assert type(caught.value) is kind
        texts.append(caught.value)
    assert texts[0].where == texts[1].where
    assert texts[0].where.endswith(": org/there")
    assert texts[0].what.endswith(".invalid does not answer")
    assert texts[1].what.endswith("this run is offline")
    assert "MaxRetryError" not in caplog.text


def test_the_hub_is_asked_once(nobody, monkeypatch):
    asked = []
    monkeypatch.setattr(hub_models, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_o: asked.append(1) or [])
    for _ in range(3):
        assert hub_models.no_network(False) is not None
    assert len(asked) <= 1


@pytest.mark.long
def test_a_cached_model_loads_while_the_hub_does_not_answer(nobody, good, tmp_path):
    snapshot = tmp_path / "cache" / "models--org--there" / "snapshots" / ("0a" * 20)
    shutil.copytree(good, snapshot)
    refs = tmp_path / "cache" / "models--org--there" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0a" * 20)
    script = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.getaddrinfo = refuse\n"
        "from xstilts.backbone.backbone import Backbone\n"
        "print(Backbone.load('org/there').identity.revision)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **{k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"},
            "HF_ENDPOINT": "https://nobody.invalid",
            "HF_HUB_CACHE": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "0a" * 20, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float8_e5m2"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "2"])
def test_whether_a_tensor_is_finite(dtype, value):
    tensor = torch.ones(3, 4)
    tensor[1, 2] = float(value)
    assert hub_models.is_finite(tensor.to(getattr(torch, dtype))) == (value == "2")
    assert hub_models.is_finite(tensor[:0])


def test_looking_for_what_is_not_finite_copies_nothing():
    tensor = torch.ones(2**20)
    with torch.profiler.profile(profile_memory=True) as seen:
        assert hub_models.is_finite(tensor)
    taken = [event.self_cpu_memory_usage for event in seen.key_averages()]
    assert max(taken) < 1000 < tensor.nbytes


@pytest.mark.long
def test_loading_a_backbone_leaves_scikit_learn_and_scipy_alone(tmp_path):
    script = (
        "import gc, sys\n"
        "from xstilts.backbone.backbone import Backbone\n"
        "Backbone.load(sys.argv[1])\n"
        "from transformers.utils import is_scipy_available, is_sklearn_available\n"
        "print('transformers.generation.candidate_generator' in sys.modules,\n"
        "      'sklearn' in sys.modules, is_sklearn_available(),\n"
        "      'scipy.optimize' in sys.modules, is_scipy_available(), gc.isenabled())\n"
    )
    folder = backbone_folder(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )
    sklearn, scipy = (find_spec(name) is not None for name in ("sklearn", "scipy"))
    assert done.stdout.strip() == f"True False {sklearn} False {scipy} True", done.stderr
