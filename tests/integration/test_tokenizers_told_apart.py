"""Folders of one model whose tokenizers differ in what they do to a text share no result."""

from __future__ import annotations

import json
import shutil

import pytest
from support.sweep import BITEXT
from support.trained import backbone_folder

from xstilts.session import Session

ENGLISH = ("A Man Runs", "NOBODY walks here", "a woman sings", "THE dog sleeps", "two cats")
GERMAN = ("a man runs", "nobody walks here", "A WOMAN SINGS", "the dog sleeps", "TWO cats")


@pytest.fixture
def folders(tmp_path):
    """Two model folders with equal weights and vocabularies; the second one lower-cases."""
    plain = backbone_folder(tmp_path / "plain")
    lower = tmp_path / "lower"
    shutil.copytree(plain, lower)
    path = lower / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    steps = [tokenizer["normalizer"]] if tokenizer["normalizer"] else []
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [*steps, {"type": "Lowercase"}]}
    path.write_text(json.dumps(tokenizer))
    return plain, lower


@pytest.fixture
def session(tmp_path):
    def begin(backbone, place):
        return Session(
            backbone=str(backbone),
            data=tmp_path / "data",
            results=tmp_path / place / "results",
            cache=tmp_path / place / "cache",
            zoo=tmp_path / "zoo",
            offline=True,
            quiet=True,
        )

    pairs = tmp_path / "data" / "pairs"
    pairs.mkdir(parents=True)
    (pairs / "de.txt").write_text("\n".join(GERMAN) + "\n")
    (pairs / "de.en.txt").write_text("\n".join(ENGLISH) + "\n")
    (tmp_path / "own.yaml").write_text(BITEXT)
    return begin


def values(result):
    return [score.value for score in result.scores]


def test_scores_of_another_tokenizer_are_computed(folders, session, tmp_path):
    plain, lower = folders
    task = str(tmp_path / "own.yaml")
    alone = session(lower, "alone").evaluate("none", task)
    first = session(plain, "shared").evaluate("none", task)
    second = session(lower, "shared").evaluate("none", task)
    again = session(lower, "shared").evaluate("none", task)
    assert values(second) == values(alone) == [100.0]
    assert values(first) != values(second)
    assert (second.outcome.computed, again.outcome.computed) == (1, 0)


def test_weights_and_vocabulary_are_those_of_one_backbone(folders, session):
    plain, lower = (session(folder, "shared").backbone() for folder in folders)
    assert plain.identity.key == lower.identity.key
    assert not plain.identity.differences(lower.identity)
    assert plain.tokenization != lower.tokenization
