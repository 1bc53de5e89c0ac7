"""What stands in a notebook for the things that a session hands out: one line each."""

from __future__ import annotations

from support.trained import add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.composition.load import load_expression
from xstilts.session import Session
from xstilts.zoo import Zoo


def test_each_says_in_a_line_what_it_is(tmp_path):
    backbone = Backbone.load(str(backbone_folder(tmp_path / "base")))
    zoo = Zoo(tmp_path / "zoo")
    entry = add_module(zoo, backbone, "mnli")
    shape = backbone.shape
    assert repr(backbone) == (
        f"Backbone('base', xlm-roberta, {shape.num_layers} blocks of {shape.hidden_size}, on cpu)"
    )
    assert repr(zoo) == f"Zoo('{tmp_path / 'zoo'}', 1 modules)"
    assert repr(entry) == f"Entry('{entry.reference}', folder='{entry.folder}')"
    composed = load_expression("mnli", zoo, backbone).composed
    numbers = sum(parameter.numel() for parameter in composed.parameters())
    sites = len(composed.nodes)
    assert repr(composed) == f"ComposedModules({sites} sites, {numbers:,} parameters)"


def test_a_session_lists_what_can_be_asked_of_it():
    names = dir(Session())
    assert {"train", "evaluate", "compose", "zoo", "results", "backbone"} <= set(names)
    assert not [name for name in names if name.startswith("_")]
