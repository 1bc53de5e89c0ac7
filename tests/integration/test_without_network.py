"""What is carried to a machine without a network works there: modules, data, backbone, keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from integration.test_sharing import keys

pytestmark = pytest.mark.long

TESTS = Path(__file__).parents[1]
PAIR = ("--task", "xnli", "--langs", "qaa,qab")


def alone():
    """What puts a process into a network of its own, where that is allowed."""
    words = ["unshare", "--net", "--"]
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return []
    return [] if allowed.returncode else words


def there(folder, *commands):
    """Run commands on a machine that has never seen anything else; code, out and err of each."""
    own = {
        "HOME": str(folder),
        "XSTILTS_HOME": f"{folder}/home",
        "XSTILTS_CACHE": f"{folder}/cache",
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("HF_", "TRANSFORMERS_", "XSTILTS_"))
    }
    done = subprocess.run(
        [*alone(), sys.executable, "-m", "support.blocked"],
        input=json.dumps([list(command) for command in commands]),
        env={**kept, **own},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_sockets_are_blocked(tmp_path):
    """Without --offline a hub is asked, and that fails there."""
    asked, not_asked = there(
        tmp_path, ["zoo", "pull", "hf:org/x"], ["--offline", "zoo", "pull", "hf:org/x"]
    )
    assert str(asked["code"]).startswith("blocked: "), asked
    assert not_asked["code"] == 6
    assert "error[XS-OFFLINE]" in not_asked["err"]


@pytest.mark.slow
def test_bundles_make_a_folder_that_works_without_a_network(run, tmp_path):
    run("train-adapter", "mnli", "--method", "lora", "--set", "train.max_steps=3")
    before = run("eval", "mnli/lora", *PAIR)["scores"]
    stick = tmp_path / "stick"
    run("zoo", "bundle", str(stick / "zoo"), "mnli/lora")
    run("export", "merged", "none", "--to", str(stick / "backbone"))
    run("data", "bundle", "xnli", "--out", str(stick / "data.tar"))
    with tarfile.open(stick / "data.tar") as tar:
        tar.extractall(stick / "data", filter="data")
    place = [
        "--offline",
        "--json",
        "-q",
        "--zoo",
        str(stick / "zoo"),
        "--data",
        str(stick / "data"),
    ]
    encoder = ["--backbone", str(stick / "backbone")]
    text = ["--text", "a", "--text2", "b"]
    listed, verified, scored, asked = there(
        tmp_path / "stick",
        [*place, "zoo", "ls"],
        [*place, "zoo", "verify"],
        [*place, "eval", "mnli/lora", *PAIR, *encoder],
        [*place, "predict", "mnli/lora", *text, *encoder],
    )
    assert [found["code"] for found in (listed, verified, scored, asked)] == [0] * 4, scored
    assert len(json.loads(listed["out"])) == 1
    after = json.loads(scored["out"])["scores"]
    assert [s["value"] for s in after] == [s["value"] for s in before]


def test_signing_needs_no_network(run, tmp_path):
    """Signed, pulled and verified; what is unsigned, of another key or changed is refused."""
    pytest.importorskip("model_signing")
    run("train-adapter", "mnli", "--method", "lora", "--set", "train.max_steps=3")
    for name in ("team", "other"):
        (tmp_path / name).mkdir()
        keys(tmp_path / name)
    run("zoo", "bundle", str(tmp_path / "zoo"), "mnli/lora")
    zoo, fresh = (["--offline", "--zoo", str(tmp_path / name)] for name in ("zoo", "fresh"))
    required = ["zoo", "verify", "mnli/lora", "--require-signature", "--key"]
    codes = [
        found["code"]
        for found in there(
            tmp_path,
            [*zoo, "zoo", "push", "mnli/lora", "folder:signed", "--sign", "team/key.pem"],
            [*zoo, "zoo", "push", "mnli/lora", "folder:plain"],
            [*fresh, "zoo", "pull", "folder:plain", "--key", "team/key.pub"],
            [*fresh, "zoo", "pull", "folder:signed", "--key", "other/key.pub"],
            [*fresh, "zoo", "pull", "folder:signed", "--key", "team/key.pub"],
            [*fresh, *required, "team/key.pub"],
            [*fresh, *required, "other/key.pub"],
            [*zoo, *required, "team/key.pub"],
            [*zoo, "zoo", "verify", "mnli/lora", "--require-signature"],
        )
    ]
    assert codes == [0, 0, 5, 5, 0, 0, 5, 5, 2]
    (weights,) = (tmp_path / "fresh").glob("*/*/*/adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    (found,) = there(tmp_path, [*fresh, *required, "team/key.pub"])
    assert found["code"] == 5
    assert "adapter_model.safetensors" in found["err"]
