"""Values that a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.zoo_modules import add

from xstilts.zoo import Zoo


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    folder = tmp_path_factory.mktemp("complete")
    zoo = Zoo(folder / "zoo")
    zoo.tag(add(zoo, "lora"), "best")
    add(zoo, name="qqp", task="qqp")
    add(zoo.of_study("rates"), name="mnli-of-a-study")

    def complete(line):
        words = line.split(" ")
        environment = {
            **os.environ,
            "_XSTILTS_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "XSTILTS_ZOO": str(zoo.root),
            "XSTILTS_HOME": str(folder / "home"),
        }
        command = [sys.executable, "-m", "xstilts"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    return complete


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("xstilts eval none --task xqua", ["xquad"]),
        ("xstilts xtreme none --tasks xnli,pawsx", ["xnli,pawsx"]),
        ("xstilts train-adapter mnli --method lor", ["lora"]),
        ("xstilts zoo show mn", ["mnli/lora", "mnli:best"]),
        ("xstilts eval fuse(mnli,qq", ["fuse(mnli,qqp/seq_bn"]),
        ("xstilts grid run sentiment", ["sentiment-alignment"]),
        ("xstilts xtreme none --suite xtreme-", ["xtreme-r"]),
        ("xstilts eval none --task tatoeba --langs de,sw", ["de,sw"]),
        ("xstilts eval none --precision bf", ["bf16"]),
    ],
)
def test_values_are_completed(complete, line, found):
    assert complete(line) == found


def test_languages_are_those_of_the_task(complete):
    found = complete("xstilts eval none --task pawsx --langs ")
    assert set(found) == {"de", "en", "es", "fr", "ja", "ko", "zh"}
