"""A plan reads and digests the same rows once; outside of one every reading is anew."""

from __future__ import annotations

from xstilts.config.load import load_task
from xstilts.data.once import read_once
from xstilts.data.sources import data_digest, load

LINE = '{"pairID": "%s", "gold_label": "neutral", "sentence1": "a", "sentence2": "b"}\n'


def test_rows_are_read_once_within_a_plan_and_anew_after_it(tmp_path):
    file = tmp_path / "snli" / "snli_1.0_train.jsonl"
    file.parent.mkdir()
    file.write_text(LINE % 1, encoding="utf-8")
    task = load_task("snli")
    with read_once():
        first = load(task, "train", "en", tmp_path)
        digest = data_digest(first)
        file.write_text(LINE % 1 + LINE % 2, encoding="utf-8")
        assert load(task, "train", "en", tmp_path) == first
    rows = load(task, "train", "en", tmp_path)
    assert [row.id for row in rows] == ["1", "2"]
    assert data_digest(rows[:1]) == digest != data_digest(rows)


def test_a_digest_within_a_plan_is_that_of_outside(tmp_path):
    file = tmp_path / "snli" / "snli_1.0_train.jsonl"
    file.parent.mkdir()
    file.write_text(LINE % 1 + LINE % 2, encoding="utf-8")
    rows = load(load_task("snli"), "train", "en", tmp_path)
    with read_once():
        orders = [data_digest(order) for order in (rows, rows[::-1], rows, list(rows))]
    assert orders[0] == orders[2] == orders[3] == data_digest(rows)
    assert orders[1] == data_digest(rows[::-1]) != orders[0]
