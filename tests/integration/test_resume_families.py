"""A training that is killed and goes on ends with the same bits, on models of every type."""

from __future__ import annotations

import pytest
from support.external import FEW
from support.format_files import write_files
from support.trained import backbone_folder

from xstilts import Session
from xstilts.backbone.architectures import model_types
from xstilts.config.load import spec_names
from xstilts.modules.methods.external_adapters import CONFIGS
from xstilts.modules.methods.external_peft import TUNERS
from xstilts.train.trainer import Trainer

FAMILIES = ("xlm-roberta", "deberta-v2", "modernbert", "mt5", "xmod", "llama")
USUAL = ("seq_bn", "lora", "full")
OTHERS = sorted({*spec_names("methods")} - {*USUAL})
LONG, SLOW = pytest.mark.long, pytest.mark.slow


class Killed(Exception):
    """Stands for a process that ends here, without a word."""


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Gives, when called with a name and a model type, a session on folders of its own."""

    def start(name, model_type):
        base, home = tmp_path / model_type, tmp_path / name
        if not base.exists():
            write_files(tmp_path)
            backbone_folder(base, model_type, num_hidden_layers=2)
        monkeypatch.setenv("XSTILTS_HOME", str(home))
        monkeypatch.setenv("XSTILTS_CACHE", str(home / "cache"))
        folders = {"data": tmp_path / "data", "zoo": home / "zoo"}
        return Session(backbone=str(base), offline=True, quiet=True, **folders)

    return start


@pytest.fixture
def killed_at_two(monkeypatch):
    """Gives, when called with a training, what it keeps when it is killed and goes on."""

    def twice(train):
        taken, plain = [], Trainer._step

        def step(self, **options):
            if taken == [0, 1]:
                raise Killed
            taken.append(self.position.step)
            return plain(self, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", step)
            with pytest.raises(Killed):
                train()
            taken.append("killed")
            kept = train()
        assert taken == [0, 1, "killed", 2, 3]
        return kept

    return twice


SETTINGS = {"train": {"max_steps": 4, "batch_size": 1, "save_every": 1}}


def bits(manifest):
    """What two modules have in common only where every byte is equal."""
    return manifest.digest, [file.sha256 for file in manifest.files]


@pytest.mark.parametrize(
    ("model_type", "method"),
    [
        *(pytest.param(name, method, marks=LONG) for name in FAMILIES for method in USUAL),
        pytest.param("xlm-roberta", "peft:dora", marks=LONG, id="another-library"),
        *(pytest.param(name, "peft:ia3", marks=SLOW) for name in FAMILIES[1:]),
        *(pytest.param(name, method, marks=SLOW) for name in FAMILIES for method in OTHERS),
        *(
            pytest.param(name, method, marks=SLOW)
            for name in model_types()
            if name not in FAMILIES
            for method in USUAL
        ),
        *(pytest.param("xlm-roberta", f"peft:{name}", marks=SLOW) for name in TUNERS),
        *(pytest.param("xlm-roberta", f"adapters:{name}", marks=SLOW) for name in CONFIGS),
    ],
)
def test_a_killed_training_goes_on_to_the_same_module(model_type, method, session, killed_at_two):
    if method.startswith("adapters:"):
        pytest.importorskip("adapters")
    few = {"options": {"settings": FEW.get(method.partition(":")[2], {})}}
    settings = SETTINGS | (few if ":" in method else {})

    def train(name):
        options = {"method": method, "name": "module", "settings": settings}
        return session(name, model_type).train("sst2", **options).manifest

    def weights(name):
        manifest = session("whole", model_type).zoo.find(name).manifest
        return {f.path: f.sha256 for f in manifest.files if f.path.endswith(".safetensors")}

    whole = train("whole")
    before, after = weights("module-step0"), weights("module")
    assert after
    assert all(before[path] != after[path] for path in after)
    assert bits(killed_at_two(lambda: train("killed"))) == bits(whole)


COMPOSED = {
    "fuse(one, two)": "head",
    "stack(one, two)": "seq_bn",
    "average(one, two)": "lora",
}


@pytest.mark.parametrize(
    ("model_type", "expression"),
    [
        pytest.param(name, expression, marks=LONG if name in FAMILIES else SLOW)
        for name in model_types()
        for expression in COMPOSED
    ],
)
def test_a_killed_composition_goes_on_to_the_same(model_type, expression, session, killed_at_two):
    def parts(name):
        options = {"method": "seq_bn", "settings": {"train": {"max_steps": 1, "batch_size": 1}}}
        for seed, part in enumerate(("one", "two")):
            session(name, model_type).train("sst2", name=part, seed=seed, **options)

    def compose(name):
        options = {"target": "sst2", "top": COMPOSED[expression], "settings": SETTINGS}
        return session(name, model_type).compose(expression, "composed", **options).manifest

    parts("whole")
    whole = compose("whole")
    parts("killed")
    assert bits(killed_at_two(lambda: compose("killed"))) == bits(whole)
