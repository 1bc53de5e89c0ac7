"""Options that name what a backbone lacks are refused before a training."""

from __future__ import annotations

import pytest
from support.own_task import own_session

from xstilts.errors import ConfigError, UsageError


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return own_session(tmp_path_factory.mktemp("place"))


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("seq_bn", {"leave_out": [99]}, "no block 99"),
        ("seq_bn", {"leave_out": [0, -1]}, "no block -1"),
        ("lang", {"leave_out": [3]}, "no block 3"),
        ("lora", {"leave_out": [3, 4]}, "no block 3, 4"),
        ("lora", {"rank_pattern": {"7_query": 4}}, "no block 7"),
        ("lora", {"only": ["query"]}, "'query' is no site"),
        ("lora", {"only": ["0_query", "0_foo"]}, "no site '0_foo'"),
        ("lora", {"only": ["0_ffn"]}, "no site '0_ffn'"),
        ("lora", {"rank_pattern": {"0_qkv": 4}}, "no site '0_qkv'"),
        ("lora", {"rank_pattern": {"0_query": 4, "0_key": 4}}, "'0_key', where the module has no"),
        ("lora", {"rank_pattern": {"00_query": 4}}, "'00_query', where the module has no"),
        ("lora", {"leave_out": [0], "rank_pattern": {"0_query": 4}}, "'0_query', where"),
        ("lora", {"only": ["1_query"], "rank_pattern": {"0_query": 4}}, "'0_query', where"),
    ],
)
def test_blocks_that_the_backbone_lacks(session, method, options, said):
    task = str(session.data.parent / "tasks" / "own.yaml")
    with pytest.raises(UsageError, match=said):
        session.phase(task, method=method, settings={"options": options})


def test_a_rank_of_none(session):
    task = str(session.data.parent / "tasks" / "own.yaml")
    with pytest.raises(ConfigError, match="rank_pattern"):
        session.phase(task, method="lora", settings={"options": {"rank_pattern": {"0_query": 0}}})


def test_ranks_of_sites_that_it_has(session):
    task = str(session.data.parent / "tasks" / "own.yaml")
    options = {"targets": ["key"], "rank_pattern": {"0_key": 4, "2_key": 2}}
    phase = session.phase(task, method="lora", settings={"options": options})
    assert phase.options.rank_pattern == {"0_key": 4, "2_key": 2}


def test_blocks_that_it_has(session):
    task = str(session.data.parent / "tasks" / "own.yaml")
    phase = session.phase(task, method="seq_bn", settings={"options": {"leave_out": [0, 2]}})
    assert phase.options.leave_out == [0, 2]


def test_parts_that_are_to_stop_without_patience(session):
    task = str(session.data.parent / "tasks" / "own.yaml")
    stop = {"mix": {"stop_parts": True}}
    with pytest.raises(UsageError, match=r"train\.patience is 0"):
        session.phase(task, method="seq_bn", settings=stop)
    assert session.phase(task, method="seq_bn", settings=stop | {"train": {"patience": 2}})
