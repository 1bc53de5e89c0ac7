"""Tasks of the default sandbox world are learnt, and carry over to languages never trained on."""

from __future__ import annotations

import json

import pytest

from xstilts.cli import main

pytestmark = pytest.mark.slow

SEEN = ["qab", "qac", "qad", "qae", "qaf", "qag"]


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Run a command in the default world; its JSON."""
    folder = tmp_path_factory.mktemp("sandbox-tasks")
    patch = pytest.MonkeyPatch()
    patch.setenv("XSTILTS_HOME", str(folder / "home"))
    patch.setenv("XSTILTS_CACHE", str(folder / "cache"))

    def run(capsys, *arguments):
        with pytest.raises(SystemExit) as caught:
            main(["--world", "sandbox", "-q", "--json", *arguments])
        output = capsys.readouterr()
        assert caught.value.code in (0, None), output.err
        return json.loads(output.out)

    yield run
    patch.undo()


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
def test_task_is_learnt(call, capsys, task, target, metric, source_above, seen_above):
    module = call(capsys, "train-adapter", task)
    if task == "copa":
        assert module["dev_score"] > 75
    rows = call(capsys, "eval", "@" + module["digest"], "--task", target)["scores"]
    scores = {row["language"]: row["value"] for row in rows if row["metric"] == metric}
    if source_above is not None:
        assert scores["qaa"] > source_above
    assert min(scores[code] for code in SEEN) > seen_above
