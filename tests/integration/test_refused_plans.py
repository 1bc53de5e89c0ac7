"""What a backbone cannot be trained on is refused in the plan, before anything is trained."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest
from support.trained import TEXTS, backbone_folder

from xstilts.cli import main

PLAN = """\
title: Own
intermediates: [none, {first}]
targets: [xnli]
seeds: [1]
intermediate: {{method: "{method}", train: {{max_steps: 2, batch_size: 2}}}}
target: {{method: head, train: {{max_steps: 2, batch_size: 2}}}}
"""
REFUSED = {
    "task": (("mnli, mlm", "lora"), "sees only what stands before a token"),
    "method": (("mnli", "adapters:prefix_tuning"), "its prefixes reach no attention"),
}
WITH_ADAPTERS = "adapters" in sys.modules or find_spec("adapters") is not None
"""The library takes its own place when it is imported, where no spec is found."""
COMMANDS = (("grid", "plan"), ("grid", "run"), ("run",), ("--dry-run", "run"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    backbone_folder(folder / "lm", "llama")
    rows = "a man runs\tnobody is there\tneutral\nwhere\tthe house\tentailment\n" * 3
    for name in ("mnli/train", "mnli/dev_matched", "xnli/test-en", "xnli/dev-en"):
        path = folder / f"data/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = "sentence1\tsentence2\tgold_label\n" if "mnli" in name else ""
        path.write_text(head + rows)
    for name in ("en", "dev-en"):
        path = folder / f"data/mlm/{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(TEXTS) + "\n")
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_plan_names_it_and_nothing_is_trained(kind, command, place, monkeypatch, capsys):
    (first, method), says = REFUSED[kind]
    if method.startswith("adapters:") and not WITH_ADAPTERS:
        pytest.skip("the adapters library is not here")
    monkeypatch.chdir(place)
    for name in ("home", "cache"):
        monkeypatch.setenv(f"XSTILTS_{name.upper()}", str(place / name))
    (place / "own.yaml").write_text(PLAN.format(first=first, method=method))
    folders = ["--data", "data", "--zoo", "zoo", "--results", "results"]
    with pytest.raises(SystemExit) as caught:
        main([*folders, "--offline", *command, "own.yaml", "--backbone", "lm"])
    assert caught.value.code == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not list((place / "zoo").rglob("manifest.json"))
