from __future__ import annotations

import json

import pytest

from xstilts.files import create_json, json_text, without_nan, write_json

BROKEN = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("number", BROKEN)
def test_json_refuses_what_it_has_no_word_for_and_leaves_the_file(number, tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"score": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"scores": [1.0, number]})
    assert json.loads(path.read_text()) == {"score": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        create_json(tmp_path / "b.json", {"score": number})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("number", BROKEN)
def test_a_statistic_that_is_not_there_is_null(number):
    value = {"p": number, "rows": [{"r": (0.5, number)}], "name": "x", "n": 3, "none": None}
    assert json.loads(json_text(without_nan(value))) == {
        "p": None,
        "rows": [{"r": [0.5, None]}],
        "name": "x",
        "n": 3,
        "none": None,
    }
