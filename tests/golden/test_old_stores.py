"""What version 0.1 left on disk loads, and computes what it computed then."""

from __future__ import annotations

import json
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from xstilts.backbone.backbone import Backbone
from xstilts.composition.export import probe, reference, source
from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.evaluate.store import ResultStore
from xstilts.files import digest
from xstilts.train import checkpoint
from xstilts.train.checkpoint import Position
from xstilts.train.parts import Dev, Part, identity
from xstilts.zoo import Zoo, verify_folder

STORE = Path(__file__).parent / "stores" / "v0.1.zip"
"""A random tiny backbone, a module of each method and two compositions on it, and six cells."""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v0.1")
    with zipfile.ZipFile(STORE) as packed:
        packed.extractall(folder)
    return folder


WITH_ADAPTERS = "adapters" in sys.modules or find_spec("adapters") is not None
"""The library takes its own place when it is imported, where no spec is found."""


@pytest.fixture(scope="module")
def backbone(old):
    return Backbone.load(str(old / "backbone"), offline=True)


def test_the_backbone_has_the_fingerprint_that_it_had(old, backbone):
    expected = json.loads((old / "expected.json").read_text())
    assert backbone.identity.fingerprint == expected["fingerprint"]


def test_every_module_gives_the_outputs_that_it_gave(old, backbone):
    zoo, ids = Zoo(old / "zoo"), probe(backbone)
    expected = json.loads((old / "expected.json").read_text())["outputs"]
    assert len(expected) == len(zoo.entries()) == 15
    for name, values in expected.items():
        if "/adapters-" in name and not WITH_ADAPTERS:
            continue
        found = reference(source(name, zoo, backbone), *ids).flatten()[: len(values)]
        assert torch.allclose(found, torch.tensor(values), atol=2e-6), name


def test_every_folder_is_what_its_manifest_says(old):
    folders = Zoo(old / "zoo").folders()
    assert [verify_folder(folder).digest[:12] for folder in folders] == [
        folder.name.partition("@")[2] for folder in folders
    ]


def test_what_was_renamed_is_found_by_both_names(old, backbone):
    zoo = Zoo(old / "zoo")
    whole = zoo.find("mnli/full_delta", backbone.identity)
    assert whole == zoo.find("mnli/full_diff", backbone.identity)
    external = {entry.manifest.method for entry in zoo.entries(kind="external")}
    assert external == {"external_adapters", "external_peft"}


def test_cells_are_read(old):
    cells = list(ResultStore(old / "results").cells())
    assert len(cells) == 6
    assert all(cell.scores for cell in cells)


def test_a_checkpoint_goes_on(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    position = Position(step=3, run_key="x", evaluations_since_best=2, steps_taken={"mnli": 3})
    checkpoint.save(tmp_path, position, {"w": torch.zeros(2)}, {})
    path = next(tmp_path.glob("checkpoint-*")) / "position.json"
    values = json.loads(path.read_text())
    values["looks_without_gain"] = values.pop("evaluations_since_best")
    values["inputs"] = values.pop("run_key")
    values["taken"] = values.pop("steps_taken")
    path.write_text(json.dumps(values))
    assert checkpoint.restore(tmp_path, "x", {"w": parameter}, optimizer) == position
    assert parameter.tolist() == [0.0, 0.0]


def test_a_training_of_before_is_found_again():
    """The digest is what version 0.1 made of the same task and rows."""
    task = TaskSpec(
        name="toy",
        format="classification",
        languages=["en", "de"],
        more_languages=["fr"],
        labels=["no", "yes"],
        metric="accuracy",
        sources=[],
    )
    rows = [
        Example("1", "en", {"text": "a man runs"}, "yes"),
        Example("2", "en", {"text": "nobody"}, "no"),
    ]
    part = Part("toy", task, ("en",), rows, [Dev(task, "en", "validation", rows[:1])], head="toy")
    expected = "54519612d569c946b7ba28bd665b8c9e5cc033cc46d44d1b28bae6d8aa762d46"
    assert digest(identity(part)) == expected
