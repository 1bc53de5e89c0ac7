"""Full fine-tunes kept as their difference from the backbone."""

from __future__ import annotations

import json

import pytest
import torch
from support.models import tiny_backbone as other_backbone
from support.trained import add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.composition.export import probe, reference, source
from xstilts.composition.shrink import shrink
from xstilts.errors import BackboneMismatchError, IntegrityError, UsageError
from xstilts.modules.methods import full
from xstilts.zoo import Zoo, verify_folder


@pytest.fixture
def place(tmp_path):
    backbone = Backbone.load(str(backbone_folder(tmp_path / "pico")))
    zoo = Zoo(tmp_path / "zoo")
    return backbone, zoo, add_module(zoo, backbone, "mnli", "full")


def test_the_shrunk_module_computes_the_same_bits_and_says_the_same_of_itself(place):
    backbone, zoo, whole = place
    made = shrink(whole, zoo, backbone)
    ids, mask = probe(backbone)
    names = ("mnli/full", "mnli/full_delta")
    wanted, found = (reference(source(name, zoo, backbone), ids, mask) for name in names)
    assert torch.equal(found, wanted)
    manifest = verify_folder(made.entry.folder)
    assert manifest.options == {"stored": "difference"}
    assert (manifest.task, manifest.seed, manifest.labels) == (
        whole.manifest.task,
        whole.manifest.seed,
        whole.manifest.labels,
    )
    assert manifest.digest != whole.manifest.digest
    assert not (made.entry.folder / full.WEIGHTS).exists()


def test_only_a_whole_fine_tune_of_the_same_backbone_is_shrunk(place):
    backbone, zoo, whole = place
    made = shrink(whole, zoo, backbone)
    with pytest.raises(UsageError, match="already"):
        shrink(made.entry, zoo, backbone)
    with pytest.raises(UsageError, match="method bottleneck"):
        shrink(add_module(zoo, backbone, "mnli", "seq_bn"), zoo, backbone)
    with pytest.raises(BackboneMismatchError):
        shrink(whole, zoo, other_backbone())


def test_nothing_is_added_when_the_difference_reads_back_otherwise(place, monkeypatch):
    backbone, zoo, whole = place
    wrong = add_module(zoo, backbone, "qqp", "full", seed=3)
    right = full.load

    def misread(folder, shape):
        found = right(folder, shape)
        if folder != whole.folder:
            name = next(iter(found.encoder_weights))
            found.encoder_weights = {**found.encoder_weights, name: found.encoder_weights[name] + 1}
        return found

    monkeypatch.setattr(full, "load", misread)
    with pytest.raises(IntegrityError, match="read again"):
        shrink(whole, zoo, backbone)
    assert {e.reference for e in zoo.entries()} == {whole.reference, wrong.reference}


def test_the_command_prints_both_sizes(place, tmp_path, capsys):
    _, zoo, _ = place
    flags = ("--zoo", str(zoo.root), "--backbone", str(tmp_path / "pico"), "--json")
    with pytest.raises(SystemExit) as caught:
        main(["zoo", "shrink", "mnli/full", *flags])
    assert not caught.value.code
    record = json.loads(capsys.readouterr().out)
    assert record["reference"].startswith("mnli/full_delta")
    assert record["mb"] > 0 and record["mb_whole"] > 0
