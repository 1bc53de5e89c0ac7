"""What a composition is made of is checked before weights load, and what it computes after."""

from __future__ import annotations

import pytest
import torch
from support.models import randomise
from support.trained import add_composition, add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.composition import load
from xstilts.composition.compose import ComposedModules
from xstilts.composition.load import load_expression
from xstilts.config.load import load_method
from xstilts.errors import IntegrityError, NotFoundError
from xstilts.modules.methods import METHODS
from xstilts.zoo import Zoo, write_manifest

TEXT = "fuse(mnli/seq_bn, qqp/seq_bn)"


@pytest.fixture
def backbone(tmp_path):
    return Backbone.load(str(backbone_folder(tmp_path / "base")))


@pytest.fixture
def zoo(tmp_path, backbone):
    zoo = Zoo(tmp_path / "zoo")
    for task in ("mnli", "qqp"):
        add_module(zoo, backbone, task)
    return zoo


def rewritten(zoo, backbone, entry, name, **values):
    """A copy of a module under another name, with other values in its manifest."""
    import shutil

    def write(folder):
        shutil.copytree(entry.folder, folder, dirs_exist_ok=True)
        manifest = entry.manifest.model_copy(update={"name": name, "digest": "", **values})
        return write_manifest(folder, manifest)

    return zoo.add(write)


def test_a_composition_with_its_probe_loads(zoo, backbone):
    entry = add_composition(zoo, backbone, TEXT, "mnli", "fused")
    assert len(entry.manifest.probe) == 8
    assert load_expression("fused", zoo, backbone).manifest == entry.manifest


def test_other_outputs_than_when_it_was_saved_are_refused(zoo, backbone):
    entry = add_composition(zoo, backbone, TEXT, "mnli", "fused")
    wrong = [value + 0.01 for value in entry.manifest.probe]
    rewritten(zoo, backbone, entry, "changed", probe=wrong)
    with pytest.raises(IntegrityError, match=r"'changed' gives other outputs .* 0\.01"):
        load_expression("changed", zoo, backbone)
    with pytest.raises(IntegrityError, match="other outputs"):
        load_expression("stack(changed, mnli/seq_bn)", zoo, backbone)


def test_a_composition_that_is_a_part_of_itself_is_refused(zoo, backbone, monkeypatch):
    entry = add_composition(zoo, backbone, TEXT, "mnli", "fused")
    rewritten(zoo, backbone, entry, "snake", composition="stack(mnli/seq_bn, snake)")
    monkeypatch.setattr(load, "load_module", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(IntegrityError, match="'snake' is a part of itself"):
        load_expression("snake", zoo, backbone)


def test_two_compositions_that_name_each_other_are_refused(zoo, backbone, monkeypatch):
    entry = add_composition(zoo, backbone, TEXT, "mnli", "fused")
    rewritten(zoo, backbone, entry, "head", composition="stack(mnli/seq_bn, tail)")
    rewritten(zoo, backbone, entry, "tail", composition="stack(mnli/seq_bn, head)")
    monkeypatch.setattr(load, "load_module", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(IntegrityError, match="is a part of itself"):
        load_expression("stack(head, tail)", zoo, backbone)


def test_a_part_that_is_gone_is_found_before_weights_load(zoo, backbone, monkeypatch):
    add_composition(zoo, backbone, TEXT, "mnli", "fused")
    add_composition(zoo, backbone, "stack(fused, mnli/seq_bn)", "mnli", "twice")
    zoo.remove(zoo.find("qqp", backbone.identity))
    monkeypatch.setattr(load, "load_module", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(NotFoundError):
        load_expression("twice", zoo, backbone)


def test_a_language_without_a_module_gets_what_the_expression_names(zoo, backbone):
    there = load_expression("stack(mnl{lang}|none, qqp)", zoo, backbone, "i")
    assert [entry.manifest.name for entry in there.entries] == ["mnli", "qqp"]
    assert there.replaced == ()
    gone = load_expression("stack(mnl{lang}|none, qqp)", zoo, backbone, "x")
    assert [entry.manifest.name for entry in gone.entries] == ["qqp"]
    assert gone.replaced == ("mnlx",)
    with pytest.raises(NotFoundError, match="mnlx"):
        load_expression("stack(mnl{lang}, qqp)", zoo, backbone, "x")


def test_what_acts_is_told_by_weights_not_by_names(tmp_path, backbone):
    zoo = Zoo(tmp_path / "lora")
    for task, seed in (("mnli", 7), ("qqp", 7), ("xnli", 8)):
        add_module(zoo, backbone, task, "lora", seed)
    mnli, qqp, other = (load_expression(name, zoo, backbone) for name in ("mnli", "qqp", "xnli"))
    assert mnli.acting == qqp.acting != other.acting
    assert mnli.digest != qqp.digest  # its head is another one
    stacked = [f"stack({name}, xnli)" for name in ("mnli", "qqp")]
    a, b = (load_expression(text, zoo, backbone).acting for text in stacked)
    assert a == b != mnli.acting
    turned = load_expression("stack(xnli, mnli)", zoo, backbone)
    assert turned.acting not in (a, "")


@pytest.mark.parametrize("preset", ["lora", "seq_bn", "lang"])
def test_a_module_whose_update_is_zero_acts_as_none(preset, zoo, backbone):
    new = METHODS.get(load_method(preset).method)
    options = new.Options.model_validate(load_method(preset).options)
    module = new.create(backbone.shape, options, torch.Generator().manual_seed(1))
    none = load_expression("none", zoo, backbone)
    assert none.acting == "" and none.composed.idle
    nodes = dict(module.at.items())
    assert ComposedModules(nodes, {}).idle
    randomise(next(iter(nodes.values())), 1, 0.1)  # for lang: the invertible part alone
    assert not ComposedModules(nodes, {}).idle
    whole = {name: p.detach() for name, p in backbone.encoder.named_parameters()}
    assert not ComposedModules({}, whole).idle
