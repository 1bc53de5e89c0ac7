"""What differs between encoders is said in `backbone/architectures`, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from support.models import randomise, tiny_backbone, tokens

import xstilts
from xstilts.backbone.architectures import ARCHITECTURES, architecture_of, model_types
from xstilts.backbone.sites import LINEARS, SUBLAYERS, Site
from xstilts.errors import UsageError
from xstilts.modules.methods import METHODS

ROOT = Path(xstilts.__file__).parent
INSIDE = re.compile(
    r"""encoder\.(?:layer|block)\b|attention\.(?:self|output)|intermediate\.dense|output\.dense"""
    r"""|(?:word|tok)_embeddings|embed_tokens|Wqkv|\b(?:[qkvo]|gate|up|down)_proj"""
    r"""|model_type (?:==|!=)"""
)
"""Paths inside a transformers model, and comparisons of model types."""
OURS = re.compile(r"\.word_embeddings|def word_embeddings|tie_word_embeddings")


def test_no_other_file_names_a_path_inside_a_transformers_model():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith("backbone/architectures/"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if INSIDE.search(OURS.sub("", line)):
                wrong.append(f"{place}:{number} {line.strip()}")
    assert wrong == []


def test_each_model_type_has_one_architecture():
    types = [t for name in ARCHITECTURES for t in ARCHITECTURES.get(name).MODEL_TYPES]
    assert sorted(types) == list(model_types())
    assert len(types) == len(set(types))
    with pytest.raises(UsageError, match="gpt2"):
        architecture_of("gpt2")


@pytest.mark.parametrize("model_type", model_types())
def test_a_layout_names_what_is_there(model_type):
    backbone = tiny_backbone(model_type)
    layout = backbone.layout
    assert set(layout.linears) <= set(LINEARS)
    assert set(layout.sublayers) <= set(SUBLAYERS)
    for block in backbone.blocks:
        for path in layout.linears.values():
            assert isinstance(block.get_submodule(path), torch.nn.Linear)
    for name in layout.linears:
        site = Site(1, name)
        assert layout.site(layout.path(site)) == site
        assert layout.site("model." + layout.path(site)) == site
    assert layout.site("elsewhere." * 2 + layout.path(Site(1, next(iter(layout.linears))))) is None


def test_projections_that_are_not_there_are_asked_of_others():
    layout = tiny_backbone().layout
    assert layout.has(["value", "query", "value"]) == ["value", "query"]
    assert layout.has(["qkv", "gate_up"]) == ["query", "key", "value", "intermediate"]
    assert layout.has(["gate", "up"]) == ["intermediate"]


@pytest.mark.parametrize("model_type", model_types())
def test_blocks_alone_give_the_same_as_the_whole(model_type):
    backbone, (ids, mask) = tiny_backbone(model_type), tokens()
    method = METHODS.get("lora")
    module = method.create(backbone.shape, method.Options(), torch.Generator().manual_seed(0))
    randomise(module)
    for acting in ({}, module.at):
        with backbone.attach(acting):
            states = backbone.hidden_states(ids, mask)
            for first, hidden in enumerate(states):
                assert torch.equal(backbone.from_block(first, hidden, ids, mask), states[-1])
