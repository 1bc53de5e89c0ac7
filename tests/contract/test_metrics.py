"""What every metric keeps to. A new file in `tasks/metrics` is tested here without an edit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xstilts.data.examples import Answer, Example
from xstilts.tasks.conformance import LABELS, SAMPLES, metric_problems
from xstilts.tasks.layouts import ANSWERS, LINES, TAGS
from xstilts.tasks.metrics import METRICS

ABOUT = {"language": "en", "labels": LABELS}


@pytest.mark.parametrize("name", METRICS)
def test_it_does_what_its_contract_says(name):
    assert metric_problems(name) == []


@pytest.mark.parametrize("name", METRICS)
def test_its_scores_are_named_and_in_range(name):
    metric = METRICS.get(name)
    scores = metric.compute(*SAMPLES[metric.TAKES], **ABOUT)
    assert metric.MAIN in scores
    assert all(0 <= v <= 100 for key, v in scores.items() if key not in metric.NO_PERCENT)
    assert set(metric.NO_PERCENT) <= set(scores)
    assert metric.__doc__


@pytest.mark.parametrize("name", METRICS)
def test_outcomes_pooled_are_the_main_score(name):
    metric = METRICS.get(name)
    given = SAMPLES[metric.TAKES]
    rows = np.asarray(metric.outcomes(*given, **ABOUT), np.float64)
    rows = rows.reshape(len(rows), -1)
    main = metric.compute(*given, **ABOUT)[metric.MAIN]
    assert float(metric.pooled(rows.sum(0), len(rows))) == pytest.approx(main)


def _rows(takes, golds):
    if takes == "answers":
        texts = [(key, tuple(Answer(text, 0) for text in found)) for key, found in golds.items()]
    else:
        texts = [(str(number), gold) for number, gold in enumerate(golds)]
    return [Example(key, "en", {}, target) for key, target in texts]


LAYOUTS = {"texts": LINES, "lists": TAGS, "answers": ANSWERS}


@pytest.mark.parametrize(
    "name", [n for n in METRICS if METRICS.get(n).TAKES in LAYOUTS and not METRICS.get(n).SEARCH]
)
def test_a_written_file_scores_as_the_predictions_do(name, tmp_path):
    metric = METRICS.get(name)
    predicted, golds = SAMPLES[metric.TAKES]
    layout = metric.LAYOUT or LAYOUTS[metric.TAKES]
    rows = _rows(metric.TAKES, golds)
    answers = list(predicted.values()) if metric.TAKES == "answers" else predicted
    paths = tmp_path / f"p.{layout.suffix}", tmp_path / f"l.{layout.suffix}"
    paths[0].write_text(layout.text(rows, answers))
    if metric.TAKES == "answers":
        asked = [
            {"id": row.id, "answers": [{"text": a.text, "answer_start": 0} for a in row.target]}
            for row in rows
        ]
        squad = {"data": [{"paragraphs": [{"context": "", "qas": asked}]}]}
        paths[1].write_text(json.dumps(squad))
    else:
        paths[1].write_text(layout.text(rows, golds))
    from_memory = metric.compute(*layout.pair(rows, answers), **ABOUT)
    assert metric.compute(*layout.read(*paths), **ABOUT) == from_memory
    assert from_memory == metric.compute(predicted, golds, **ABOUT)
