"""What a plan says that evaluations will take."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.trained import TEXTS, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.config.load import load_task
from xstilts.data.examples import Example
from xstilts.evaluate.row_cache import SAMPLE, RowCache
from xstilts.grid.cell import GridCell
from xstilts.grid.cost import Cost, CostModel
from xstilts.grid.kinds import train
from xstilts.session import Session
from xstilts.train.plan import estimate, plan_phase
from xstilts.train.trainer import Trainer
from xstilts.zoo import Zoo
from xstilts.zoo.workspace import Workspace


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    return Backbone.load(str(backbone_folder(folder)), offline=True)


def result(backbone, task, seconds):
    identity = {"backbone": backbone.identity.key, "task": task}
    return SimpleNamespace(identity=identity, seconds=seconds)


def test_sub_words_are_reckoned_from_some_rows(backbone, tmp_path):
    rows = RowCache(backbone, Workspace(None, Zoo(tmp_path), tmp_path, None))
    task = load_task("tatoeba")
    few = [Example(str(n), "en", {"text": text}) for n, text in enumerate(TEXTS)]
    assert rows.tokens(few, task) == int(rows.features(few, task).lengths.sum())
    many = [Example(str(n), "en", {"text": TEXTS[n % 5]}) for n in range(10 * SAMPLE + 5)]
    exact = int(rows.features(many, task).lengths.sum())
    assert rows.tokens(many, task) == pytest.approx(exact, rel=0.1)
    assert rows.tokens([], task) == 0


def test_earlier_results_say_how_long_one_takes(backbone):
    known = [
        result(backbone, "xnli", 2.0),
        result(backbone, "xnli", 4.0),
        result(backbone, "mlqa", 9.0),
    ]
    costs = CostModel(SimpleNamespace(cells=lambda: known))
    assert costs.of_evaluation(backbone, "xnli", results=10, tokens=10**9) == 30.0
    once, twice = (costs.of_evaluation(backbone, "paws", 1, tokens) for tokens in (1000, 2000))
    assert twice == pytest.approx(2 * once)
    assert once > 0


def test_cells_that_differ_in_the_seed_cost_the_same(monkeypatch):
    made = []
    monkeypatch.setattr(train, "_cost", lambda cell, *_: made.append(cell.key) or Cost(9, 1.0, 5))
    costs = CostModel(SimpleNamespace(cells=lambda: []))

    def cell(key, seed, **settings):
        run = {"method": "lora", "train": {"seed": seed, **settings}}
        job = {"tasks": ["mnli"], "run": run, "apart": False}
        return GridCell(key, "train", key, "", (), job)

    cells = [cell("a", 1), cell("b", 2), cell("c", 1, epochs=3)]
    assert [train.cost(own, None, costs).steps for own in cells] == [9, 9, 9]
    assert made == ["a", "c"]


def test_a_calibration_is_kept(tmp_path, monkeypatch):
    folder = backbone_folder(tmp_path / "base")
    rows = "sentence1\tsentence2\tgold_label\n" + "".join(
        f"{text} {number}\t{text}\tneutral\n" for number, text in enumerate(TEXTS * 3)
    )
    (tmp_path / "data/mnli").mkdir(parents=True)
    for name in ("train", "dev_matched"):
        (tmp_path / f"data/mnli/{name}.tsv").write_text(rows, "utf-8")
    how = {"backbone": str(folder), "data": tmp_path / "data", "zoo": tmp_path / "zoo"}
    session = Session(**how, cache=tmp_path / "cache", quiet=True)

    def phase(seed):
        return session.phase("mnli", method="lora", seed=seed, settings={"train": {"epochs": 1}})

    first = estimate(phase(1), plan_phase(phase(1)), seconds=0.0)
    monkeypatch.setattr(Trainer, "calibrate", lambda *_: pytest.fail("measured again"))
    assert estimate(phase(2), plan_phase(phase(2))) == first
    assert first.tokens_per_second > 0
    # Dev rows cost a third of what as many rows of training do.
    plan, rows = plan_phase(phase(1)), phase(1).run.train.batch_size
    whole, dev = 3 * plan.steps * rows, plan.dev_rows
    assert first.dev_evaluations == 1
    assert first.dev_share == pytest.approx(dev / (whole + dev))
    fewer = first.dev_rows_for(0.1, dev)
    assert fewer / (whole + fewer) == pytest.approx(0.1, abs=0.01)
