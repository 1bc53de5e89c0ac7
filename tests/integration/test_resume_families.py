"""A training that is killed and goes on ends with the same bits, on a model of every family."""

from __future__ import annotations

import pytest
from support.format_files import write_files
from support.trained import backbone_folder

from xstilts import Session
from xstilts.train.trainer import Trainer

pytestmark = pytest.mark.long


class Killed(Exception):
    """Stands for a process that ends here, without a word."""


FAMILIES = ("deberta-v2", "modernbert", "mt5", "xmod", "llama")


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_killed_training_goes_on_to_the_same_module(method, model_type, tmp_path, monkeypatch):
    write_files(tmp_path)
    base = backbone_folder(tmp_path / "base", model_type, num_hidden_layers=2)
    taken, plain = [], Trainer._step

    def step(self, **options):
        if taken.count("killed") < len(taken) == 2:
            raise Killed
        taken.append(self.position.step)
        return plain(self, **options)

    def train(name):
        monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / name))
        monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / name / "cache"))
        folders = {"data": tmp_path / "data", "zoo": tmp_path / name / "zoo"}
        session = Session(backbone=str(base), offline=True, quiet=True, **folders)
        settings = {"train": {"max_steps": 4, "batch_size": 1, "save_every": 1}}
        return session.train("sst2", method=method, settings=settings).manifest

    whole = train("whole")
    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(Killed):
        train("killed")
    assert taken == [0, 1]
    taken.append("killed")
    again = train("killed")
    assert taken == [0, 1, "killed", 2, 3]
    assert [file.sha256 for file in again.files] == [file.sha256 for file in whole.files]
    assert again.digest == whole.digest
