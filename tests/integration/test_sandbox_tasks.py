"""Tasks of the default sandbox world are learnt, and carry over to languages never trained on."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

SEEN = ["qab", "qac", "qad", "qae", "qaf", "qag"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with the default world."""
    folder = tmp_path_factory.mktemp("sandbox-tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XSTILTS_HOME", str(folder / "home"))
        patch.setenv("XSTILTS_CACHE", str(folder / "cache"))
        yield folder


@pytest.mark.parametrize(
    ("task", "target", "metric", "source_above", "seen_above"),
    [
        # A word's class; the most frequent class alone gives under 35 % of the words.
        ("udpos", "udpos", "token_accuracy", 95, 55),
        # One of three parts of a clause, of one or two words; a random word of about ten has F1
        # under 12.
        ("squad1", "xquad", "f1", 45, 18),
        # One of two choices.
        ("copa", "xcopa", "accuracy", None, 60),
    ],
)
def test_task_is_learnt(run, task, target, metric, source_above, seen_above):
    module = run("train-adapter", task)
    if task == "copa":
        assert module["dev_score"] > 75
    rows = run("eval", "@" + module["digest"], "--task", target)["scores"]
    scores = {row["language"]: row["value"] for row in rows if row["metric"] == metric}
    if source_above is not None:
        assert scores["qaa"] > source_above
    assert min(scores[code] for code in SEEN) > seen_above
