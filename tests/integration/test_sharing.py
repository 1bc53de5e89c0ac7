"""The sharing guide against a local hub, an S3 server, and what must never leak."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import traceback
from pathlib import Path

import pytest
from integration.hub_server import HubServer, use
from support.s3 import s3_server

from xstilts.cli import main
from xstilts.errors import NetworkError

pytestmark = pytest.mark.long

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "sharing.md"
FAST = ("--set", "train.max_steps=3")


@pytest.fixture
def run(home, capsys):
    def call(*arguments, code=0, as_json=True):
        with pytest.raises(SystemExit) as caught:
            main(["--world", "sandbox", *(["--json", "-q"] if as_json else []), *arguments])
        output = capsys.readouterr()
        assert (caught.value.code or 0) == code, output.err
        call.seen += output.out + output.err
        if not as_json:
            return output.out
        return json.loads(output.out or output.err)

    call.seen = ""
    return call


@pytest.fixture
def lora(run):
    return run("train-adapter", "mnli", "--method", "lora", *FAST)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        server.tokens["hf_canary0123456789abcdef"] = "org"
        use(monkeypatch, server, tmp_path, "hf_canary0123456789abcdef")
        yield server


def keys(folder):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    private = made.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    public = made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pub").write_bytes(public)


def test_the_guide(run, lora, hub, tmp_path, monkeypatch):
    pytest.importorskip("model_signing")
    monkeypatch.chdir(tmp_path)
    keys(tmp_path)
    blocks = re.findall(r"```console\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    commands = [line[2:] for block in blocks for line in block.splitlines()]
    assert len(commands) == 19
    for command in commands:
        if command.startswith("xstilts "):
            run(*shlex.split(command)[1:], as_json=False)
        else:
            subprocess.run(command, shell=True, check=True)
    kept = run("zoo", "show", "mnli/lora")
    assert kept["digest"] == lora["digest"]
    assert "canary" not in run.seen
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"canary" not in path.read_bytes(), path


def test_a_pulled_module_scores_the_same(run, lora, hub):
    pair = ("--task", "xnli", "--langs", "qaa,qab", "--force")
    before = [s["value"] for s in run("eval", "mnli/lora", *pair)["scores"]]
    made = run("zoo", "push", "mnli/lora", "hf:org/mnli", "--tag", "v1")
    assert made["scores"] >= 2
    run("zoo", "rm", "mnli/lora", "--yes")
    run("zoo", "show", "mnli/lora", code=4)
    again = run("eval", "hf:org/mnli@v1", *pair)
    assert [s["value"] for s in again["scores"]] == before
    references = [row["reference"] for row in run("zoo", "ls", "--method", "lora")]
    assert lora["reference"] in references


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "not valid (401)"), (403, "may not do this (403)"), (500, "the hub failed (500)")],
)
def test_what_the_hub_refuses_is_said(run, lora, hub, status, words, monkeypatch):
    monkeypatch.setattr("xstilts.zoo.hubs._hf_errors.WAIT_SECONDS", 0.01)
    hub.fault("POST", "/commit/", status, times=99)
    error = run("zoo", "push", "mnli/lora", "hf:org/other", code=6)
    assert words in error["what"]
    assert "canary" not in json.dumps(error)
    with pytest.raises(NetworkError) as caught:
        main(["--world", "sandbox", "--debug", "zoo", "push", "mnli/lora", "hf:org/other"])
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_an_s3_store(run, lora):
    with s3_server("canary"):
        made = run("zoo", "push", "mnli/lora", "s3://team/zoo")
        run("zoo", "rm", "mnli/lora", "--yes")
        assert run("zoo", "pull", "s3://team/zoo")["digest"] == lora["digest"]
        assert made["reference"].startswith("s3://team/zoo/mnli/lora/")
        assert "canary" not in run.seen


def test_the_library_is_listed_by_task_method_backbone_language_and_score(run, lora, capsys):
    def references(*filters):
        return [row["reference"] for row in run("zoo", "ls", *filters)]

    own = lora["reference"]
    some = ("--task", "mnli", "--method", "lora", "--backbone", "sandbox", "--lang", "qaa")
    assert references(*some, "--kind", "lora") == [own]
    assert references(*some, "--min-dev", "0.5") == [own]
    assert references(*some, "--min-dev", "100.5") == []
    run("eval", own, "--task", "xnli", "--langs", "qaa,qab")
    assert own in references("--min-score", "xnli=0")
    assert references("--min-score", "xnli=100.5") == []
    assert references("--min-score", "xnli=0", "--min-score", "tydiqa=0") == []
    (row,) = run("zoo", "ls", *some, "--min-score", "xnli=0")
    rows = [s["value"] for s in run("eval", own, "--task", "xnli", "--langs", "qaa,qab")["scores"]]
    assert row["scores"]["xnli"] == pytest.approx(sum(rows) / 2)
    assert "no TASK=VALUE" in run("zoo", "ls", "--min-score", "xnli", code=2)["what"]
    for name, wrong, right in (
        ("task", "mnly", "mnli"),
        ("method", "lorra", "lora"),
        ("backbone", "sandbx", "sandbox"),
        ("kind", "lorra", "lora"),
    ):
        with pytest.raises(SystemExit):
            main(["--world", "sandbox", "--json", "zoo", "ls", f"--{name}", wrong])
        output = capsys.readouterr()
        assert json.loads(output.out) == []
        assert f"no module of {name} '{wrong}'. Did you mean '{right}'" in output.err


def test_the_library_is_searched_tagged_compared_and_cleaned(run, lora):
    run("train-adapter", "qqp", *FAST)
    assert [r["task"] for r in run("zoo", "search", "qqp", "seq_bn")] == ["qqp"]
    run("zoo", "tag", "mnli/lora", "best")
    places = {row["place"] for row in run("zoo", "diff", "mnli/lora", "qqp")}
    assert {"task", "method"} <= places
    assert run("zoo", "gc", "--dry-run")["gone"] == []
    tree = run("zoo", "show", "mnli/lora")["lineage"]
    assert (tree["here"], tree["parents"]) == (True, [])
    assert run("zoo", "show", "mnly", code=4)["hint"]
