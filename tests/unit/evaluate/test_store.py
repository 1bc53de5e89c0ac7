from __future__ import annotations

from xstilts.evaluate.store import ResultStore, Score
from xstilts.files import digest


def row(value, **changes):
    values = {
        "expression": "m",
        "intermediate": "m",
        "digest": digest("@abc"),
        "backbone": "pico",
        "fingerprint": "1",
        "task": "tatoeba",
        "language": "sw",
        "split": "test",
        "metric": "accuracy",
        "value": value,
        "n": 20,
        "layer": 7,
    }
    return Score(**values | changes)


def test_a_card_has_what_was_measured_twice_once_and_newest(tmp_path):
    store = ResultStore(tmp_path)
    cells = [
        [row(50), row(60, layer=12), row(10, metric="f1", main=False)],
        [row(55, expression="stack(m)", intermediate="row")],
        [row(40, split="test[:10]", n=10), row(99, digest=digest("@other"))],
    ]
    for number, rows in enumerate(cells):
        store.put({"number": number}, rows, f"{number}\n", "tsv", None, 1.0)
    found = {(r["split"], r["layer"], r["value"]) for r in store.of_module("abc")}
    assert found == {("test", 7, 55), ("test", 12, 60), ("test[:10]", 7, 40)}
    assert len(store.of_module("abc")) == 3
