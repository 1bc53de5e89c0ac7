"""A phase knows of which parts a lower dev score is better, and its key with it."""

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


def with_select(phase, select):
    train = phase.run.train.model_copy(update={"select": select})
    return replace(phase, run=phase.run.model_copy(update={"train": train}))


def test_only_a_training_that_selects_by_such_a_metric_has_another_key(phase, monkeypatch):
    before = {select: with_select(phase, select).run_key for select in ("best", "last")}
    assert phase.lower_is_better == []
    metric = METRICS.get(phase.parts[0].dev[0].task.metric)
    monkeypatch.setattr(metric, "LOWER_IS_BETTER", True)
    assert phase.lower_is_better == [phase.parts[0].name]
    assert with_select(phase, "last").run_key == before["last"]
    assert with_select(phase, "best").run_key != before["best"]
