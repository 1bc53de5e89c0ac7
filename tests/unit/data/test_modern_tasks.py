"""Tasks of the suite `modern`, each on a few rows in the layout of its distribution."""

from __future__ import annotations

import json

import pytest
from support.files import write

from xstilts.config.load import load_suite, load_task
from xstilts.data.pairs import load_pair
from xstilts.data.sources import load
from xstilts.errors import DataError

STORY = {
    "InputStoryid": "s1",
    **{f"InputSentence{n}": f"Satz {n}." for n in range(1, 5)},
    "RandomFifthSentenceQuiz1": "Falsch.",
    "RandomFifthSentenceQuiz2": "Richtig.",
    "AnswerRightEnding": "2",
}


def test_belebele(tmp_path):
    row = {"flores_passage": "Ein Text.", "question": "Was?", "correct_answer_num": "4"}
    row |= {f"mc_answer{n}": f"A{n}" for n in range(1, 5)}
    write(tmp_path, {"belebele/deu_Latn.jsonl": json.dumps(row) + "\n"})
    (found,) = load(load_task("belebele"), "test", "de", tmp_path)
    assert found.fields["choices"] == ("A1", "A2", "A3", "A4") and found.target == "3"
    assert (found.fields["context"], found.fields["question"]) == ("Ein Text.", "Was?")


def test_xstorycloze_joins_four_sentences(tmp_path):
    table = "\t".join(STORY) + "\n" + "\t".join(STORY.values()) + "\n"
    name = "xstorycloze/spring2016.val.sw.tsv.split_20_80_eval.tsv"
    write(tmp_path, {name: table})
    (found,) = load(load_task("xstorycloze"), "test", "sw", tmp_path)
    assert found.fields["context"] == "Satz 1. Satz 2. Satz 3. Satz 4."
    assert found.fields["choices"] == ("Falsch.", "Richtig.") and found.target == "1"
    write(tmp_path, {name: table.replace("InputSentence3", "Sentence3")})
    with pytest.raises(DataError, match="no column 'InputSentence3'"):
        load(load_task("xstorycloze"), "test", "sw", tmp_path)


def test_afrixnli(tmp_path):
    write(
        tmp_path, {"afrixnli/ewe/test.tsv": "premise\thypothesis\tlabel\na\tb\t2\nc\td\tneutral\n"}
    )
    rows = load(load_task("afrixnli"), "test", "ee", tmp_path)
    assert [row.target for row in rows] == ["contradiction", "neutral"]


def test_masakhaner2(tmp_path):
    write(tmp_path, {"masakhaner2/nya/test.txt": "Ada B-PER\nMay B-DATE\n\nBonn B-LOC\n"})
    rows = load(load_task("masakhaner2"), "test", "ny", tmp_path)
    assert [row.target for row in rows] == [("B-PER", "O"), ("B-LOC",)]


def test_massive_has_its_splits_in_one_file(tmp_path):
    rows = [
        {"id": str(n), "partition": part, "utt": f"u{n}", "intent": "alarm_set"}
        for n, part in enumerate(("train", "dev", "test", "test"))
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write(tmp_path, {"massive/1.1/data/zh-CN.jsonl": text})
    task = load_task("massive_intent")
    assert len(task.labels) == 60 and len(task.languages) == 40
    found = {
        s: [r.id for r in load(task, s, "zh", tmp_path)] for s in ("train", "validation", "test")
    }
    assert found == {"train": ["0"], "validation": ["1"], "test": ["2", "3"]}


def test_flores(tmp_path):
    folder = "flores200_dataset/devtest"
    write(
        tmp_path, {f"{folder}/swh_Latn.devtest": "a\nb\n", f"{folder}/eng_Latn.devtest": "c\nd\n"}
    )
    pair = load_pair(load_task("flores"), "sw", tmp_path)
    assert pair.gold == [(0, 0), (1, 1)] and pair.target[1].fields["text"] == "d"


def test_the_suite_has_every_language_of_its_tasks():
    suite = load_suite("modern")
    assert set(suite.overall) == set(suite.tasks) == set().union(*suite.groups.values())
    for name, languages in suite.tasks.items():
        assert languages == load_task(name).languages
