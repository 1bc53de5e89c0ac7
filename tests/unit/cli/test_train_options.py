"""Every option of the training commands reaches the session."""

from __future__ import annotations

import pytest

from xstilts.cli import main
from xstilts.errors import UsageError
from xstilts.session import Session

WORDS = (
    *("--backbone", "some", "--seed", "3", "--limit", "5", "--dev-limit", "7", "--mlm", "0.2"),
    *("--text", "sw=a.txt", "--select-on", "target-dev", "--target", "xnli", "--name", "new"),
    *("--source-langs", "en,de", "--stack-on", "lang-sw", "--init-from", "qqp"),
    *("--set", "train.lr=1e-4", "--track", "tensorboard"),
)
SETTINGS = {
    "source": {"languages": ["en", "de"]},
    "mlm": {"share": 0.2, "text": ["sw=a.txt"]},
    "train": {"dev_limit": 7},
    "select_on": "target-dev",
    "target": "xnli",
}
GIVEN = {
    "backbone": "some",
    "seed": 3,
    "limit": 5,
    "name": "new",
    "base": "lang-sw",
    "init": "qqp",
    "track": ["tensorboard"],
    "overrides": ["train.lr=1e-4"],
    "settings": SETTINGS,
    "config": None,
}


@pytest.fixture
def asked(monkeypatch):
    """Runs a command, and gives what the session is asked for."""
    seen = {}

    def trained(_self, task, **options):
        seen.update(options, task=task)
        raise UsageError("seen")

    monkeypatch.setattr(Session, "trained", trained)

    def run(*words):
        with pytest.raises(SystemExit):
            main(["-q", *words])
        del seen["command"]
        return seen

    return run


@pytest.mark.parametrize(
    ("command", "more", "changed"),
    [
        (("train", "mnli"), (), {"method": "full"}),
        (("train", "mnli"), ("--difference",), {"method": "full_delta"}),
        (("train-adapter", "mnli"), (), {"method": ""}),
        (
            ("train-adapter", "mnli"),
            ("--method", "lora", "--method-option", "rank=2", "--cache-activations"),
            {
                "method": "lora",
                "overrides": ["train.lr=1e-4", "options.rank=2"],
                "settings": SETTINGS | {"train": {"dev_limit": 7, "cache_activations": True}},
            },
        ),
    ],
)
def test_training(asked, command, more, changed):
    assert asked(*command, *WORDS, *more) == GIVEN | {"task": "mnli"} | changed


def test_nothing_is_stated_where_nothing_is_given(asked):
    found = asked("train-adapter", "mnli")
    assert found["settings"] == {}
    assert found["overrides"] == []
    assert (found["seed"], found["limit"], found["backbone"]) == (None, None, "")


@pytest.mark.parametrize("command", ["train", "train-adapter"])
def test_zero_is_a_value(asked, command):
    found = asked(command, "mnli", "--mlm", "0", "--dev-limit", "0")
    assert found["settings"] == {"mlm": {"share": 0.0}, "train": {"dev_limit": 0}}


def test_zero_is_a_value_of_a_composition(asked):
    found = asked("compose", "average(a, b)", "--target", "xnli", "--save", "n", "--dev-limit", "0")
    assert found["settings"] == {"train": {"dev_limit": 0}, "target": "xnli"}


def test_compose(asked):
    words = ("--target", "xnli", "--save", "both", "--top", "lora", "--seed", "3", "--limit", "5")
    found = asked("compose", "average(a, b)", *words, "--backbone", "some", "--set", "train.lr=1")
    assert found == {
        "task": "mnli",
        "method": "lora",
        "name": "both",
        "base": "average(a, b)",
        "settings": {"target": "xnli"},
        "seed": 3,
        "limit": 5,
        "backbone": "some",
        "overrides": ["train.lr=1"],
        "config": None,
    }


def test_a_composition_takes_the_dev_limit_that_plans_name(asked):
    seen = asked("compose", "fuse(a, b)", "--target", "xnli", "--save", "n", "--dev-limit", "7")
    assert seen["settings"] == {"train": {"dev_limit": 7}, "target": "xnli"}
    assert asked("compose", "fuse(a, b)", "--target", "xnli", "--save", "n")["settings"] == {
        "target": "xnli"
    }
