"""A module that goes to each kind of hub and comes back in a clean home, and what its card says.

By default to a folder and the Hugging Face Hub; `pytest -m slow` takes it to the other places.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from uuid import uuid4

import pytest
import torch
from integration.hub_server import HubServer, use
from support.s3 import s3_server

from xstilts import sandbox
from xstilts.backbone import pretrained
from xstilts.backbone.backbone import Backbone
from xstilts.backbone.reference import backbone_spec
from xstilts.cli import main
from xstilts.composition import export
from xstilts.config import paths
from xstilts.zoo import Zoo, verify_folder
from xstilts.zoo.manifest import CARD, SCORES

pytestmark = pytest.mark.long

PLACES = [
    "folder",
    "hf",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("file", "memory", "s3")),
]
METHODS = ("seq_bn", "lora")
PAIR = ("--task", "xnli", "--langs", "qaa,qab")
CANARY = "hf_canary0123456789abcdef"


@pytest.fixture
def command(home, capsys):
    """Run a command; its JSON. Everything that was printed is kept in `seen`."""

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["--world", "sandbox", "--json", *arguments])
        output = capsys.readouterr()
        call.seen += output.out + output.err
        assert caught.value.code in (0, None), output.err
        return json.loads(output.out)

    call.seen = ""
    return call


@pytest.fixture(scope="module")
def world(home):
    return sandbox.ensure_world(paths.cache_folder())


@pytest.fixture
def trained(command, tmp_path, monkeypatch):
    """A home with two modules that do change the outputs, each evaluated."""
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
    fast = ("--set", "train.max_steps=4", "--set", "train.lr=0.03")
    made = {}
    for method in METHODS:
        module = command("train-adapter", "mnli", "--method", method, *fast)
        made[method] = module, command("eval", f"mnli/{method}", *PAIR)["scores"]
    return made


@contextlib.contextmanager
def hf(monkeypatch, tmp_path):
    with HubServer() as server:
        server.tokens[CANARY] = "org"
        use(monkeypatch, server, tmp_path, CANARY)
        yield server


@pytest.fixture(params=PLACES)
def place(request, monkeypatch, tmp_path):
    """An address of each kind, with the method to be filled in."""
    if request.param == "s3":
        with s3_server(CANARY):
            yield "s3://team/{method}"
    elif request.param == "hf":
        with hf(monkeypatch, tmp_path):
            yield "hf:org/mnli-{method}"
    else:
        shared = f"{tmp_path}/shared/{{method}}"
        yield {
            "folder": f"folder:{shared}",
            "file": f"file://{shared}",
            "memory": f"memory://{uuid4().hex}/{{method}}",
        }[request.param]


def contents(folder):
    """Every file's bytes, but for the card and its scores, which a push writes."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in (CARD, SCORES)}


def shown(scores):
    return [(s["task"], s["language"], s["metric"], s["value"]) for s in scores]


def test_it_comes_back_the_same_in_a_clean_home(
    command, trained, place, world, tmp_path, monkeypatch
):
    """Byte-equal, verified, with the same scores; and plain libraries load it as its card says."""
    zoo = Zoo(tmp_path / "home" / "worlds" / "sandbox" / "adapters_zoo")
    for method in METHODS:
        command("zoo", "push", f"mnli/{method}", place.format(method=method))
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "clean"))
    assert command("zoo", "ls") == []
    for method, (module, scores) in trained.items():
        pulled = command("zoo", "pull", place.format(method=method))
        assert pulled["digest"] == module["digest"]
        other = Zoo(tmp_path / "clean" / "worlds" / "sandbox" / "adapters_zoo")
        mine, theirs = (z.find("@" + module["digest"]).folder for z in (zoo, other))
        assert mine != theirs
        assert contents(mine) == contents(theirs)
        assert verify_folder(theirs) == verify_folder(mine)
        again = command("eval", pulled["reference"], *PAIR)["scores"]
        assert shown(again) == shown(scores)
        on_the_card(theirs, other, place.format(method=method), world, tmp_path, monkeypatch)
    assert command("zoo", "verify") == {"broken": []}
    assert CANARY not in command.seen
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def on_the_card(folder, zoo, place, world, tmp_path, monkeypatch):
    """Run the card's Python as it stands there, and compare logits."""
    manifest = verify_folder(folder)
    library = {"bottleneck": "adapters", "lora": "peft"}[manifest.method]
    pytest.importorskip(library, reason=f"the {library} library is not installed")
    text = (folder / CARD).read_text(encoding="utf-8")
    assert f"With plain {library}" in text
    here = tmp_path / f"elsewhere-{manifest.method}"
    if place.startswith("hf:"):
        assert f"xstilts zoo pull {place}\n" in text
        here.mkdir()
    else:
        assert "xstilts zoo add .\n" in text
        shutil.copytree(folder, here)
    (here / manifest.backbone.repo).symlink_to(world.backbone)
    monkeypatch.chdir(here)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    scope = {}
    exec(compile(code, CARD, "exec"), scope)
    backbone = Backbone.load(str(world.backbone))
    ids, mask = export.probe(backbone)
    chosen = export.source("@" + manifest.digest, zoo, backbone)
    ours = export.reference(chosen, ids, mask)
    with torch.no_grad():
        theirs = scope["model"](input_ids=ids, attention_mask=mask).logits
        without = chosen.head.module(backbone(ids, mask), None)
    assert float((ours - without).abs().max()) > 1e-3, "the module does nothing"
    assert float((ours - theirs).abs().max()) < 1e-5


def test_the_card_names_the_base_model_on_the_hub(command, world, tmp_path, monkeypatch):
    """From the card alone, in an empty folder: base model and module come from the hub."""
    pytest.importorskip("peft")
    with hf(monkeypatch, tmp_path) as server:
        files = {p.name: p.read_bytes() for p in world.backbone.iterdir() if p.is_file()}
        commit = server.put_repo("org/tiny-base", files).branches["main"]
        monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
        own = ("--method", "lora", "--backbone", "org/tiny-base@main")
        made = command("train-adapter", "mnli", *own, "--set", "train.max_steps=4")
        command("zoo", "push", "mnli/lora", "hf:org/mnli-lora")
        card = server.repo("org/mnli-lora").at("main").files[CARD].decode()
        assert "base_model: org/tiny-base\nbase_model_relation: adapter\n" in card
        assert f'"org/tiny-base",\n    revision="{commit}",\n' in card
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
        (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
        scope = {}
        exec(compile(code, CARD, "exec"), scope)
        zoo = Zoo(tmp_path / "home" / "worlds" / "sandbox" / "adapters_zoo")
        backbone = Backbone.load(str(world.backbone))
        ids, mask = export.probe(backbone)
        ours = export.reference(export.source("@" + made["digest"], zoo, backbone), ids, mask)
        with torch.no_grad():
            theirs = scope["model"](input_ids=ids, attention_mask=mask).logits
        assert float((ours - theirs).abs().max()) < 1e-5


def test_the_weights_are_of_the_commit_of_the_config(world, tmp_path, monkeypatch):
    """Another commit lands between the two: the backbone is still the one that was recorded."""
    with hf(monkeypatch, tmp_path) as server:
        files = {p.name: p.read_bytes() for p in world.backbone.iterdir() if p.is_file()}
        claimed = json.loads(files["config.json"]) | {"_commit_hash": "0" * 40}
        repo = server.put_repo(
            "org/tiny-base", {**files, "config.json": json.dumps(claimed).encode()}
        )
        commit = repo.branches["main"]
        spec = backbone_spec("org/tiny-base@main")
        config = pretrained.clean_config(spec, None)
        repo.commit({"config.json": files["config.json"]}, "Take the weights away", "main")
        encoder, tokenizer = pretrained.fetch(spec, config, None)
        assert pretrained.identify(spec, encoder, tokenizer).revision == commit
