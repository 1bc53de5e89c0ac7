"""A module of every format with a head: its card, the card's code, and exports or their refusal."""

from __future__ import annotations

import pytest
import torch
from support.trained import add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.composition.export import EXPORTS, difference, export, probe, reference, source
from xstilts.config.load import load_task, spec_names
from xstilts.errors import UsageError
from xstilts.tasks.formats import FORMATS
from xstilts.zoo import Zoo
from xstilts.zoo.card import render_card
from xstilts.zoo.snippets import library_code

NAMES = [name for name in FORMATS if FORMATS.get(name).NEEDS_HEAD]


def task_of(name):
    """A shipped task of a format; one that states its labels where the format has some."""
    specs = [spec for spec in map(load_task, spec_names("tasks")) if spec.format == name]
    return next(spec.name for spec in specs if spec.labels or not FORMATS.get(name).LABEL_SET)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    backbone, zoo = Backbone.load(str(backbone_folder(folder / "pico"))), Zoo(folder / "zoo")
    return (
        folder,
        backbone,
        zoo,
        {name: add_module(zoo, backbone, task_of(name), "lora") for name in NAMES},
    )


@pytest.mark.parametrize("name", NAMES)
def test_its_card_and_the_code_in_it(name, place):
    folder, backbone, zoo, entries = place
    manifest = entries[name].manifest
    assert f"trained on {manifest.task}" in render_card(manifest)
    pytest.importorskip("peft")
    code = library_code(manifest)
    code = code.replace('folder = "."', f"folder = {str(entries[name].folder)!r}")
    scope = {}
    exec(compile(code.replace(f'"{manifest.backbone.repo}"', repr(str(folder / "pico"))), "card",
                 "exec"), scope)  # fmt: skip
    ids, mask = probe(backbone)
    with torch.no_grad():
        model = scope["model"]
        if not FORMATS.get(name).HF_CODE:
            assert model(input_ids=ids, attention_mask=mask).last_hidden_state.isfinite().all()
            return
        found = FORMATS.get(name).transformers_logits(model, ids, mask)
    chosen = source(entries[name].reference, zoo, backbone)
    assert difference(found, reference(chosen, ids, mask), mask) < 1e-5


@pytest.mark.parametrize("kind", [kind for kind in EXPORTS if kind != "onnx"])  # minutes, own test
@pytest.mark.parametrize("name", NAMES)
def test_it_is_exported_or_refused(name, kind, place, tmp_path):
    _, backbone, zoo, entries = place
    try:
        made = export(kind, entries[name].reference, zoo, backbone, tmp_path / "out")
    except UsageError as error:
        assert name in str(error)
        assert not (tmp_path / "out").exists()
    else:
        assert any(file.endswith(".safetensors") for file in made.files)
        assert made.difference is None or made.difference < 1e-4
