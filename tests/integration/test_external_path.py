"""Modules that other libraries run, from training to scores, by the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from xstilts.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FAST = ("--set", "train.epochs=1", "--set", "train.lr=1e-3")


@pytest.fixture(scope="module")
def home(small_spec, tmp_path_factory):
    from xstilts import sandbox

    folder = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("XSTILTS_HOME", str(folder / "home"))
    patch.setenv("XSTILTS_CACHE", str(folder / "cache"))
    world = sandbox.ensure_world(folder / "cache", small_spec)
    yield folder, world
    patch.undo()


def run(home, capsys, *arguments):
    folder, world = home
    flags = ("--data", str(world.data), "--zoo", str(folder / "zoo"), "--json", "-q")
    results = ("--results", str(folder / "results"))
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--backbone", str(world.backbone), *flags, *results])
    output = capsys.readouterr()
    assert caught.value.code in (0, None), output.err
    return json.loads(output.out)


@pytest.mark.parametrize("method", ["peft:dora", "peft:ia3", "adapters:prefix_tuning"])
def test_path(home, capsys, method):
    name = method.replace(":", "-").replace("_", "-")
    plan = run(home, capsys, "train-adapter", "mnli", "--method", method, "--dry-run")
    assert plan["trainable parameters"] > 0
    made = run(home, capsys, "train-adapter", "mnli", "--method", method, "--name", name, *FAST)
    again = run(home, capsys, "train-adapter", "mnli", "--method", method, "--name", name, *FAST)
    assert made["digest"] == again["digest"]
    first = run(home, capsys, "eval", name, "--task", "xnli", "--langs", "qaa,qab")
    assert first["computed"] == 2
    folder, world = home
    command = ["-c", "from xstilts.cli import main; main()"]
    flags = ["--data", world.data, "--zoo", folder / "zoo", "--backbone", world.backbone, "-q"]
    asked = ("eval", name, "--task", "xnli", "--langs", "qaa,qab", "--json")
    other = ("--results", str(folder / f"other-{name}"))
    fresh = subprocess.run(
        [sys.executable, *command, *asked, *map(str, flags), *other],
        capture_output=True,
        text=True,
        check=True,
    )
    values = [score["value"] for score in json.loads(fresh.stdout)["scores"]]
    assert values == [score["value"] for score in first["scores"]]
