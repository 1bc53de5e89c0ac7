"""One YAML of one's own, through every command that takes a task: by its path, as by a name."""

from __future__ import annotations

import json

import pytest
from support.in_process import work_here
from support.trained import TEXTS, backbone_folder

from xstilts.cli import main

TASK = """
title: Own
format: classification
languages: [en, de]
labels: [a, b]
metric: accuracy
train_task: own
eval_split: test
max_length: 16
sources:
  - reader: jsonl
    columns: {text: text, target: label}
    files:
      train: "own/train-{language}.jsonl"
      validation: "own/validation-{language}.jsonl"
      test: "own/test-{language}.jsonl"
"""
STUDY = """
question: Does it run?
intermediates: [none, ../tasks/own.yaml]
targets: [../tasks/own.yaml]
seeds: [1]
intermediate: {method: seq_bn, train: {max_steps: 2, batch_size: 2}}
target: {method: head, train: {max_steps: 2, batch_size: 2}}
answer:
  theirs: [none]
  tasks: [../tasks/own.yaml]
  higher: more
  lower: less
  nothing: the same
"""
FAST = ("--set", "train.max_steps=2", "--set", "train.batch_size=2")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a task, its rows, a study beside them, and a backbone."""
    for name in ("XSTILTS_BACKBONE", "XSTILTS_INCLUDE", "XSTILTS_DATA", "XSTILTS_ZOO"):
        monkeypatch.delenv(name, raising=False)
    for name in ("home", "cache"):
        monkeypatch.setenv(f"XSTILTS_{name.upper()}", str(tmp_path / name))
    for name in ("tasks", "studies", "data/own", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tasks" / "own.yaml").write_text(TASK)
    (tmp_path / "studies" / "tiny.yaml").write_text(STUDY)
    for number, name in enumerate(
        (*(f"{split}-en" for split in ("train", "validation", "test")), "test-de")
    ):
        lines = [
            json.dumps({"text": f"{TEXTS[n % 5]} {number} {n}", "label": "ab"[n % 2]})
            for n in range(12)
        ]
        (tmp_path / "data" / "own" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    backbone_folder(tmp_path / "pico")
    monkeypatch.setenv("XSTILTS_BACKBONE", str(tmp_path / "pico"))
    monkeypatch.chdir(tmp_path / "tasks")
    return tmp_path


@pytest.fixture
def call(place, capsys):
    def call(*arguments, code=0):
        where = ("--data", "data"), ("--zoo", "zoo"), ("--results", "results")
        options = [text for key, name in where for text in (key, str(place / name))]
        with pytest.raises(SystemExit) as caught:
            main([*options, "-q", "--json", *arguments])
        output = capsys.readouterr()
        assert (caught.value.code or 0) == code, output.err + output.out
        return output.out if code == 0 else output.err

    return call


def test_a_path_works_wherever_a_name_does(place, call):
    assert json.loads(call("tasks", "show", "own.yaml"))["name"] == "own"
    assert {row["task"] for row in json.loads(call("data", "ls", "own.yaml"))} == {"own"}
    assert json.loads(call("data", "check", "own.yaml"))["findings"] == []
    assert len(json.loads(call("data", "show", "own.yaml"))["examples"]) == 3

    made = json.loads(call("train-adapter", "own.yaml", *FAST))
    assert made["reference"].startswith("own/seq_bn/")
    scores = json.loads(call("eval", "own", "--task", "own.yaml"))["scores"]
    assert {(row["task"], row["language"]) for row in scores} == {("own", "en"), ("own", "de")}

    # none has no head, so that one is trained; its module has the task's name
    submission = str(place / "submission")
    text = call("xtreme", "none", "own", "--tasks", "own.yaml", "--submit-dir", submission, *FAST)
    assert {row["task"] for row in json.loads(text)["scores"]} == {"own"}
    listed = json.loads(call("zoo", "ls"))
    assert {row["reference"].split("/")[0] for row in listed} == {"own", "own-alone"}
    files = [path.relative_to(submission) for path in (place / "submission").rglob("test-*")]
    assert sorted(map(str, files)) == [
        f"{label}/own/test-{code}.tsv" for label in ("none", "own") for code in ("de", "en")
    ]

    assert "own is no bitext" in call("align", "none", "--task", "own.yaml", code=2)
    ranked = json.loads(call("rank", "own.yaml", "--modules", "own", "--shots", "4"))["modules"]
    assert set(ranked[0]["estimates"]) == {"text", "task", "probe", "logme"}
    line = call("predict", "own", "--text", "a man runs", "--task", "own")
    assert json.loads(line)["prediction"] in ("a", "b")

    page = str(place / "report.html")
    report = json.loads(call("report", "--html", page, "--task", "own.yaml", "--draws", "0"))
    assert {row["task"] for row in report["scores"]["rows"]} == {"own"}
    assert "no task named 'onw'" in (
        error := call("report", "--html", page, "--task", "onw", code=4)
    )
    assert "own" in json.loads(error)["hint"]


def test_a_study_of_paths_is_planned_and_evaluated_from_another_folder(place, call, monkeypatch):
    study = str(place / "studies" / "tiny.yaml")
    planned = json.loads(call("grid", "plan", study))
    assert {cell["name"] for cell in planned["cells"]} == {
        "own/1",
        "own/none/1",
        "own/own/1",
        "none/1 on own",
        "own/1 on own",
    }
    monkeypatch.chdir(place / "elsewhere")
    assert {c["cell"] for c in json.loads(call("grid", "plan", study))["cells"]} == {
        c["cell"] for c in planned["cells"]
    }
    work_here(monkeypatch)
    record = json.loads(call("grid", "run", study))
    assert {status: n for status, n in record["counts"].items() if n} == {"done": 5}
    assert record["answer"]["unfinished"] == []


def test_an_included_task_is_found_by_a_worker_that_does_not_include_it(place, call, monkeypatch):
    from xstilts.grid import drive

    folder = place / "studies"
    (folder / "named.yaml").write_text(STUDY.replace("../tasks/own.yaml", "own"))
    monkeypatch.setenv("XSTILTS_INCLUDE", str(place / "tasks"))
    with pytest.MonkeyPatch.context() as patch:  # only the plan is made
        patch.setattr(drive, "_worker_pool", _nobody)
        call("grid", "run", str(folder / "named.yaml"), code=75)
    monkeypatch.delenv("XSTILTS_INCLUDE")
    monkeypatch.chdir(place / "elsewhere")
    record = json.loads(call("grid", "worker", "named"))
    assert record["counts"] == {"done": 5}


def _nobody(_options, _planned, context, _workers, _told):
    from xstilts.grid.engines import WorkerPool

    return WorkerPool((), 0, context.results, lambda: True)
