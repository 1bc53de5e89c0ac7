"""The head of a target that another task's rows train takes the target's settings."""

from __future__ import annotations

import pytest

from xstilts.config.run import resolve_run


def trained(task, target, *overrides, world=None, **flags):
    return resolve_run(task, {"target": target, **flags}, overrides, None, "", world).value.train


@pytest.mark.parametrize(
    ("task", "target", "said"),
    [
        ("mnli", "xnli", {"batch_size": 32, "max_length": 128, "select": "best"}),
        ("squad1", "xquad", {"epochs": 2, "batch_size": 16, "max_length": 384, "select": "none"}),
        ("squad1", "mlqa", {"epochs": 2, "batch_size": 16, "max_length": 384, "select": "none"}),
        ("squad1", "xnli", {"epochs": 3, "batch_size": 8, "select": "best"}),  # not its rows
        ("pawsx", "pawsx", {"epochs": 5, "max_length": 0, "select": "best"}),  # its own rows
    ],
)
def test_a_head_takes_the_settings_of_its_target(task, target, said):
    found = trained(task, target)
    assert {key: getattr(found, key) for key in said} == said


def test_what_is_asked_for_wins_over_the_target():
    assert trained("squad1", "xquad", "train.select=best").select == "best"
    assert trained("squad1", "xquad", train={"epochs": 1}).epochs == 1
    assert trained("squad1", "xquad", select_on="target-dev").select == "best"


def test_an_artificial_world_has_settings_of_its_own():
    assert trained("squad1", "xquad", world={}).select == "best"
