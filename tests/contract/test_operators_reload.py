"""A composition by every operator gives the same outputs, bit for bit, in a fresh process."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.models import takes
from support.trained import add_composition, add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.composition.export import EXPORTS, export
from xstilts.composition.load import load_expression
from xstilts.errors import UsageError
from xstilts.modules.operators import OPERATORS
from xstilts.zoo import Zoo
from xstilts.zoo.card import render_card

pytestmark = pytest.mark.long

PARTS = {
    "bottleneck": "mnli/seq_bn, qqp/seq_bn",
    "lora": "mnli/lora, qqp/lora",
    "mixed": "mnli/seq_bn, qqp/lora",
}


METHODS_OF = {"bottleneck": ["bottleneck"], "lora": ["lora"], "mixed": ["bottleneck", "lora"]}
CASES = [(o, kind) for o in OPERATORS for kind in PARTS if takes(o, *METHODS_OF[kind])]
CHILD = """
import sys
from pathlib import Path
import torch
from contract.test_operators_reload import outputs
torch.save(outputs(Path(sys.argv[1])), sys.argv[2])
"""


def expression(operator, kind):
    parts = PARTS[kind]
    return parts.replace(", ", " + ") if operator == "sum" else f"{operator}({parts})"


def name_of(operator, kind):
    return f"{operator}-{kind}".replace("_", "-")


def outputs(folder: Path):
    """Hidden states of every case, in fp32 and bf16, as the library in `folder` gives them."""
    zoo, backbone = Zoo(folder / "zoo"), Backbone.load(str(folder / "base"))
    ids = torch.arange(24).reshape(2, 12) % backbone.identity.vocab_size
    found = {}
    for case in CASES:
        loaded = load_expression(name_of(*case), zoo, backbone)
        loaded.composed.eval()
        nodes = dict(loaded.composed.nodes.items())
        with torch.no_grad(), backbone.attach(nodes, loaded.composed.encoder_weights):
            hidden = backbone(ids, torch.ones_like(ids))
            with torch.autocast("cpu", torch.bfloat16):
                half = backbone(ids, torch.ones_like(ids))
        found[case] = (hidden, half, loaded.heads[0].module.state_dict())
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reload")
    backbone = Backbone.load(str(backbone_folder(folder / "base")))
    zoo = Zoo(folder / "zoo")
    for number, task in enumerate(("mnli", "qqp")):
        for preset in ("seq_bn", "lora"):
            add_module(zoo, backbone, task, preset, seed=number + 7)
    for case in CASES:
        add_composition(zoo, backbone, expression(*case), "mnli", name_of(*case))
    here, written = outputs(folder), folder / "outputs.pt"
    tests = Path(__file__).parents[1]
    paths = [str(tests), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run([sys.executable, "-c", CHILD, folder, written], check=True, env=environment)
    return here, torch.load(written, weights_only=True), folder


def test_every_operator_is_there(both):
    assert {operator for operator, _ in both[0]} == set(OPERATORS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_a_fresh_process_gives_the_same_bits(case, both):
    here, there = (found[case] for found in both[:2])
    for mine, its in zip(here[:2], there[:2], strict=True):
        assert torch.equal(mine, its)
    assert all(torch.equal(here[2][key], there[2][key]) for key in here[2])


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_its_card_says_what_it_is_and_its_command_adds_it(case, both, tmp_path, monkeypatch):
    entry = Zoo(both[2] / "zoo").find(name_of(*case))
    card = render_card(entry.manifest)
    assert "A composition of modules" in card
    command = next(line for line in card.splitlines() if line.startswith("xstilts zoo add"))
    monkeypatch.chdir(entry.folder)
    with pytest.raises(SystemExit) as caught:
        main(["--zoo", str(tmp_path / "zoo"), *shlex.split(command)[1:]])
    assert not caught.value.code
    assert Zoo(tmp_path / "zoo").find(name_of(*case)).manifest == entry.manifest


@pytest.mark.long
@pytest.mark.parametrize("kind", [kind for kind in EXPORTS if kind != "onnx"])  # minutes, own test
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_it_is_exported_or_refused(case, kind, both, tmp_path):
    zoo, backbone = Zoo(both[2] / "zoo"), Backbone.load(str(both[2] / "base"))
    try:
        made = export(kind, name_of(*case), zoo, backbone, tmp_path / "out")
    except UsageError as error:
        assert error.hint and not (tmp_path / "out").exists()
    else:
        assert any(file.endswith(".safetensors") for file in made.files)
        assert made.difference is None or made.difference < 1e-4


def test_the_cases_differ(both):
    hidden = [found[0] for found in both[0].values()]
    differing = [not torch.equal(a, b) for n, a in enumerate(hidden) for b in hidden[n + 1 :]]
    assert sum(differing) >= 0.9 * len(differing)
