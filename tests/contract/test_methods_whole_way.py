"""Every method from its first step to a fresh process, card, composition, scores and exports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.trained import backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.composition.conformance import method_problems
from xstilts.composition.export import EXPORTS, export
from xstilts.composition.load import load_expression
from xstilts.config.load import EXTERNAL, load_method
from xstilts.errors import UsageError
from xstilts.modules.methods import METHODS
from xstilts.session import Session
from xstilts.zoo import Zoo, verify_folder
from xstilts.zoo.card import render_card
from xstilts.zoo.snippets import library_code

PRESETS = {method: f"{library}:lora" for library, (method, _) in EXTERNAL.items()}
TASK = """
title: Reviews
format: classification
languages: [en, de]
labels: [bad, good]
metric: accuracy
train_task: reviews
select_split: ""
sources:
  - reader: csv
    files: {train: "train-{language}.csv", test: "test-{language}.csv"}
    columns: {text: review, target: verdict}
"""
ROWS = "review,verdict\na man runs home,good\nnobody is there,bad\nthe river,good\nquickly,bad\n"
CHILD = """
import sys
from pathlib import Path
import torch
from contract.test_methods_whole_way import outputs
torch.save(outputs(Path(sys.argv[1])), sys.argv[2])
"""
TWO_STEPS = {"train": {"max_steps": 2, "batch_size": 2}}


def installed(name):
    """The methods that can run here: those of a library only where it is installed."""
    library = next((lib for lib, (method, _) in EXTERNAL.items() if method == name), "")
    if library:
        pytest.importorskip(library)
    return name


def module_of(name):
    return name.replace("_", "-")


def session_of(folder):
    return Session(
        backbone=str(folder / "pico"),
        zoo=folder / "zoo",
        data=folder,
        results=folder / "results",
        cache=folder / "cache",
        offline=True,
        quiet=True,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    backbone_folder(folder / "pico")
    (folder / "reviews.yaml").write_text(TASK)
    for name in ("train-en.csv", "test-de.csv"):
        (folder / name).write_text(ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XSTILTS_HOME", str(folder / "home"))
        session = session_of(folder)
        for name in METHODS:
            try:
                session.train(
                    str(folder / "reviews.yaml"),
                    method=PRESETS.get(name, name),
                    name=module_of(name),
                    settings=TWO_STEPS,
                )
            except UsageError:
                installed(name)
                raise
        yield folder


def entry_of(folder, name):
    (manifest,) = (folder / "zoo" / module_of(name)).glob("**/manifest.json")
    return manifest.parent


def outputs(folder: Path):
    """Logits of every method's module, as the library in `folder` gives them."""
    zoo, backbone = Zoo(folder / "zoo"), Backbone.load(str(folder / "pico"))
    ids = torch.arange(24).reshape(2, 12) % backbone.identity.vocab_size
    found = {}
    for name in METHODS:
        if (folder / "zoo" / module_of(name)).is_dir():
            loaded = load_expression(module_of(name), zoo, backbone)
            composed, head = loaded.composed.eval(), loaded.heads[0].module.eval()
            with (
                torch.no_grad(),
                backbone.attach(dict(composed.nodes.items()), composed.encoder_weights),
            ):
                found[name] = head(backbone(ids, torch.ones_like(ids)), None)
    return found


@pytest.fixture(scope="module")
def both(place):
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    written = place / "outputs.pt"
    subprocess.run([sys.executable, "-c", CHILD, place, written], check=True, env=environment)
    return outputs(place), torch.load(written, weights_only=True)


@pytest.mark.parametrize("name", list(METHODS))
def test_it_does_what_its_contract_says(name, place):
    spec = load_method(PRESETS.get(installed(name), name))
    backbone = Backbone.load(str(place / "pico"))
    assert method_problems(name, backbone, METHODS.get(name).Options(**spec.options)) == []


@pytest.mark.long
@pytest.mark.parametrize("name", list(METHODS))
def test_a_fresh_process_gives_the_same_bits(name, both):
    here, there = (found[installed(name)] for found in both)
    assert torch.equal(here, there)


@pytest.mark.parametrize("name", list(METHODS))
def test_its_manifest_says_what_it_is(name, place):
    manifest = verify_folder(entry_of(place, installed(name)))
    method = METHODS.get(name)
    assert (manifest.kind, manifest.method) == (method.KIND, name)
    assert method.Options.model_validate(manifest.options).model_dump() == manifest.options
    assert manifest.training["steps"] == 2


@pytest.mark.long
@pytest.mark.parametrize("name", list(METHODS))
def test_its_card_says_what_it_is_and_its_code_runs(name, place, both):
    folder = entry_of(place, installed(name))
    manifest, card = verify_folder(folder), METHODS.get(name).CARD
    assert f"{card.noun} trained on reviews in en" in render_card(manifest)
    code = library_code(manifest)
    assert bool(code) == bool(card.library)
    if code:
        pytest.importorskip(card.library)
        scope = {}
        code = code.replace('folder = "."', f"folder = {str(folder)!r}")
        code = code.replace(f'"{manifest.backbone.repo}"', repr(str(place / "pico")))
        exec(compile(code, "card", "exec"), scope)
        ids = torch.arange(24).reshape(2, 12) % manifest.backbone.vocab_size
        with torch.no_grad():
            logits = scope["model"](input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        assert torch.allclose(logits, both[0][name], atol=1e-5)


@pytest.mark.parametrize("name", list(METHODS))
def test_it_is_scored_and_combined_or_refused(name, place):
    session, task = session_of(place), str(place / "reviews.yaml")
    own = module_of(installed(name))
    scores = session.evaluate(own, task, langs=["de"])
    assert [row.n for row in scores.scores if row.metric == "accuracy"] == [4]
    text = f"stack({own}, lora)"
    if METHODS.get(name).EXTERNAL:
        with pytest.raises(UsageError, match="run by another library"):
            session.explain(text)
    else:
        assert session.explain(text).lines[1].text == own
        made = session.compose(text, f"on-{own}", target=task, settings=TWO_STEPS)
        assert made.entry.manifest.composition.startswith("stack(@")


@pytest.mark.parametrize("kind", [kind for kind in EXPORTS if kind != "onnx"])  # minutes, own test
@pytest.mark.parametrize("name", list(METHODS))
def test_it_is_exported_or_refused(name, kind, place, tmp_path):
    backbone, zoo = Backbone.load(str(place / "pico")), Zoo(place / "zoo")
    try:
        made = export(kind, module_of(installed(name)), zoo, backbone, tmp_path / "out")
    except UsageError as error:
        assert error.hint and not (tmp_path / "out").exists()
    else:
        assert "README.md" in made.files
        assert any(file.endswith(".safetensors") for file in made.files)
        assert made.difference is None or made.difference < 1e-4
