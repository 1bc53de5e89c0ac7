"""What a plan says that evaluations will take."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.trained import TEXTS, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.config.load import load_task
from xstilts.data.examples import Example
from xstilts.evaluate.row_cache import SAMPLE, RowCache
from xstilts.grid.cost import CostModel
from xstilts.zoo import Zoo
from xstilts.zoo.workspace import Workspace


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    return Backbone.load(str(backbone_folder(folder)), offline=True)


def result(base, task, seconds):
    identity = {"backbone": base.identity.fingerprint, "task": task}
    return SimpleNamespace(identity=identity, seconds=seconds)


def test_sub_words_are_reckoned_from_some_rows(base, tmp_path):
    rows = RowCache(base, Workspace(None, Zoo(tmp_path), tmp_path, None))
    task = load_task("tatoeba")
    few = [Example(str(n), "en", {"text": text}) for n, text in enumerate(TEXTS)]
    assert rows.tokens(few, task) == int(rows.features(few, task).lengths.sum())
    many = [Example(str(n), "en", {"text": TEXTS[n % 5]}) for n in range(10 * SAMPLE + 5)]
    exact = int(rows.features(many, task).lengths.sum())
    assert rows.tokens(many, task) == pytest.approx(exact, rel=0.1)
    assert rows.tokens([], task) == 0


def test_earlier_results_say_how_long_one_takes(base):
    known = [result(base, "xnli", 2.0), result(base, "xnli", 4.0), result(base, "mlqa", 9.0)]
    costs = CostModel(SimpleNamespace(cells=lambda: known))
    assert costs.of_evaluation(base, "xnli", results=10, tokens=10**9) == 30.0
    once, twice = (costs.of_evaluation(base, "paws", 1, tokens) for tokens in (1000, 2000))
    assert twice == pytest.approx(2 * once)
    assert once > 0
