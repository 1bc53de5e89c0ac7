"""What a phase's key holds besides the settings, and of which trainings only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.own_task import write_own_task
from support.trained import backbone_folder

from xstilts.session import Session
from xstilts.tasks.metrics import METRICS


@pytest.fixture
def phase(tmp_path):
    write_own_task(tmp_path)
    how = {name: tmp_path / name for name in ("data", "zoo", "cache", "results")}
    session = Session(backbone=str(backbone_folder(tmp_path / "pico")), **how, quiet=True)
    return session.phase(str(tmp_path / "tasks" / "own.yaml"), method="head")


def with_train(phase, **settings):
    train = phase.run.train.model_copy(update=settings)
    return replace(phase, run=phase.run.model_copy(update={"train": train}))


def test_only_a_training_that_selects_by_such_a_metric_has_another_key(phase, monkeypatch):
    before = {select: with_train(phase, select=select).run_key for select in ("best", "last")}
    assert phase.lower_is_better == []
    metric = METRICS.get(phase.parts[0].dev[0].task.metric)
    monkeypatch.setattr(metric, "LOWER_IS_BETTER", True)
    assert phase.lower_is_better == [phase.parts[0].name]
    assert with_train(phase, select="last").run_key == before["last"]
    assert with_train(phase, select="best").run_key != before["best"]


def test_only_modules_of_another_library_have_another_key_with_rates_by_depth(phase, monkeypatch):
    before = {decay: with_train(phase, layer_decay=decay).run_key for decay in (1.0, 0.5)}
    monkeypatch.setattr(phase.method, "EXTERNAL", True)
    assert with_train(phase, layer_decay=1.0).run_key == before[1.0]
    assert with_train(phase, layer_decay=0.5).run_key != before[0.5]
