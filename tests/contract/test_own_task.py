"""One YAML of one's own, through every command that takes a task: by its path, as by a name."""

from __future__ import annotations

import json

import pytest
from support.in_process import work_here
from support.own_task import STUDY, TASK, write_own_task
from support.trained import TEXTS, backbone_folder

from xstilts.cli import main
from xstilts.tasks.formats import FORMATS

pytestmark = pytest.mark.long

FAST = ("--set", "train.max_steps=2", "--set", "train.batch_size=2")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a task, its rows, a study beside them, and a backbone."""
    for name in ("XSTILTS_BACKBONE", "XSTILTS_INCLUDE", "XSTILTS_DATA", "XSTILTS_ZOO"):
        monkeypatch.delenv(name, raising=False)
    for name in ("home", "cache"):
        monkeypatch.setenv(f"XSTILTS_{name.upper()}", str(tmp_path / name))
    write_own_task(tmp_path)
    (tmp_path / "elsewhere").mkdir()
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


def test_a_task_that_states_no_labels_is_evaluated_with_those_of_its_head(place, call):
    path = place / "tasks" / "own.yaml"
    path.write_text(TASK.replace("labels: [a, b]\n", ""))
    call("train-adapter", "own.yaml", *FAST)
    scores = json.loads(call("eval", "own", "--task", "own.yaml"))["scores"]
    assert {(row["language"], row["n"]) for row in scores} == {("en", 12), ("de", 12)}
    # a label that the head does not know is named with its row
    rows = place / "data" / "own" / "test-de.jsonl"
    rows.write_text(rows.read_text() + '{"text": "x", "label": "c"}\n')
    error = json.loads(call("eval", "own", "--task", "own.yaml", "--langs", "de", code=1))
    assert "'c'" in error["what"]
    assert "test-de.jsonl" in error["where"]


CONTEXT = "the old man runs to the house near the river"


def _squad(*answers):
    found = [{"text": text, "answer_start": CONTEXT.index(text)} for text in answers]
    asked = [
        {"id": str(n), "question": "where does the man run ?", "answers": [answer]}
        for n, answer in enumerate(found)
    ]
    return json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": asked}]}]})


def _lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


OF_FORMAT = {
    "classification": (
        "metric: accuracy\nlabels: [a, b]",
        "{reader: jsonl, columns: {text: text, target: label}, files: %s}",
        _lines({"text": f"{TEXTS[n % 5]} {n}", "label": "ab"[n % 2]} for n in range(6)),
    ),
    "tagging": (
        "metric: token_accuracy\nlabels: [X, Y]",
        "{reader: jsonl, columns: {words: words, target: tags}, files: %s}",
        _lines({"words": [TEXTS[n % 5], "b"], "tags": ["X", "Y"]} for n in range(6)),
    ),
    "multiple_choice": (
        "metric: accuracy",
        "{reader: jsonl, columns: {context: text, question: question, choices: choices, "
        "target: label}, files: %s}",
        _lines(
            {"text": TEXTS[n % 5], "question": "what ?", "choices": ["a", "b"], "label": n % 2}
            for n in range(6)
        ),
    ),
    "extractive_qa": ("metric: squad", "{reader: squad, files: %s}", _squad("man", "river")),
    "masked_lm": ("metric: perplexity", "{reader: lines, files: %s}", "\n".join(TEXTS) + "\n"),
    "retrieval": (
        "metric: tatoeba",
        '{reader: bitext, files: {test.source: "own/{language}.txt", test.target: "own/test.txt"}}',
        "\n".join(TEXTS) + "\n",
    ),
}
FILES = "{train: own/train.txt, validation: own/validation.txt, test: own/test.txt}"
ASKED = {
    "classification": ("--text", "a man runs"),
    "tagging": ("--text", "a man runs"),
    "multiple_choice": (
        "--context",
        "a man",
        "--question",
        "what ?",
        "--choice",
        "a",
        "--choice",
        "b",
    ),
    "extractive_qa": ("--context", CONTEXT, "--question", "where ?"),
    "masked_lm": ("--text", "a man runs"),
}


def test_every_format_has_a_task_here():
    assert tuple(sorted(OF_FORMAT)) == FORMATS.names()


@pytest.mark.parametrize("name", sorted(OF_FORMAT))
def test_one_yaml_of_each_format_works_in_every_command(name, place, call):
    form = FORMATS.get(name)
    says, source, rows = OF_FORMAT[name]
    pair = form.TWO_SIDED
    trained = "" if pair else "train_task: own\nselect_split: validation\n"
    languages = "de" if pair else "en"
    (place / "tasks" / "own.yaml").write_text(
        f"title: Own\nformat: {name}\nlanguages: [{languages}]\nmax_length: 32\n"
        f"eval_split: test\n{trained}{says}\nsources:\n  - {source.replace('%s', FILES)}\n"
    )
    for split in ("train", "validation", "test", "de"):
        (place / "data" / "own" / f"{split}.txt").write_text(rows)
    for words in (
        ("tasks", "show", "own.yaml"),
        ("data", "ls", "own.yaml", "--count"),
        ("data", "show", "own.yaml"),
        ("data", "prepare", "own.yaml"),
        ("data", "bundle", "own.yaml", "--out", str(place / "own.tar")),
        ("config", "show", "own.yaml"),
        ("languages", "--task", "own.yaml"),
    ):
        call(*words)
    call("data", "check", "own.yaml", code=0 if pair else 3)  # its splits are the same rows

    expression = "none"
    if not pair:
        expression = "own"
        assert json.loads(call("train-adapter", "own.yaml", *FAST))["reference"].startswith("own/")
    scores = json.loads(call("eval", expression, "--task", "own.yaml"))["scores"]
    assert {row["task"] for row in scores} == {"own"}
    suite = json.loads(call("xtreme", expression, "--tasks", "own.yaml"))["scores"]
    assert [row["value"] for row in suite] == [row["value"] for row in scores]
    call("align", "none", "--task", "own.yaml", code=0 if pair else 2)

    labelled = form.LABELLED and not pair
    call(
        "rank",
        "own.yaml",
        "--shots",
        "4",
        *(() if pair else ("--modules", "own")),
        code=0 if labelled else 2,
    )
    words = ("compose", expression, "--target", "own.yaml", "--save", "more", *FAST)
    call(*words, code=2 if pair else 0)
    predicted = form.PREDICTS and not pair
    call("predict", expression, *ASKED.get(name, ("--text", "a man")), code=0 if predicted else 2)
    report = call("report", "--html", str(place / "r.html"), "--task", "own.yaml", "--draws", "0")
    assert {row["task"] for row in json.loads(report)["scores"]["rows"]} == {"own"}
