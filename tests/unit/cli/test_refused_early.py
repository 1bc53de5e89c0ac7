"""What is wrong without any weight is refused before a backbone is loaded."""

from __future__ import annotations

import os

import pytest
from support.stored import fill
from support.trained import add_module, backbone_folder

from xstilts.backbone import machine
from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.zoo import Zoo

OWN = """
title: Own
format: classification
languages: [en]
labels: [entailment, neutral, contradiction]
metric: accuracy
train_task: own
sources:
  - {reader: jsonl, files: {train: own/train.jsonl, test: own/test.jsonl}}
"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A library with a module for NLI."""
    folder = tmp_path_factory.mktemp("early")
    backbone = Backbone.load(str(backbone_folder(folder / "pico")))
    add_module(Zoo(folder / "zoo"), backbone, "mnli")
    return folder / "zoo"


@pytest.fixture
def refused(zoo, tmp_path, monkeypatch, capsys):
    def load(*_arguments, **_options):
        raise AssertionError("a backbone is loaded")

    monkeypatch.setattr(Backbone, "load", load)
    for name in ("XSTILTS_ZOO", "XSTILTS_INCLUDE", "XSTILTS_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XSTILTS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XSTILTS_BACKBONE", str(zoo.parent / "pico"))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("XSTILTS_DATA", str(tmp_path / "data"))

    def refused(*words):
        with pytest.raises(SystemExit) as caught:
            main(["--zoo", str(zoo), *words])
        return caught.value.code, " ".join(capsys.readouterr().err.split())

    return refused


@pytest.mark.parametrize(
    "command",
    [
        ("train-adapter", "xnlo"),
        ("train-adapter", "mnli,xnlo"),
        ("eval", "none", "--task", "xnlo"),
        ("xtreme", "none", "--tasks", "xnlo"),
        ("align", "none", "--task", "xnlo"),
        ("rank", "xnlo"),
        ("search", "average(mnli, mnli)", "--target", "xnlo"),
        ("compose", "mnli", "--target", "xnlo", "--save", "x"),
    ],
)
def test_a_typo_of_a_task(refused, command):
    for dry in ((), ("--dry-run",)):
        status, text = refused(*dry, *command)
        assert status == 4, text
        assert "no task named 'xnlo'" in text
        assert "Did you mean 'xnli'" in text


@pytest.mark.parametrize("named", [(), ("--backbone", "pico")])
@pytest.mark.parametrize(
    ("expression", "code", "said"),
    [
        ("fuse(mnli,", 2, "mnli"),
        ("stack(mnli, mnly)", 4, "no module 'mnly'"),
        ("mnly", 4, "no module 'mnly'"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("eval", "{}", "--task", "xnli"),
        ("xtreme", "{}", "--tasks", "xnli"),
        ("align", "{}", "--task", "tatoeba"),
        ("predict", "{}", "--text", "a", "--text2", "b"),
        ("compose", "{}", "--explain"),
        ("compose", "{}", "--save", "x"),
        ("compose", "{}", "--target", "xnli", "--save", "x"),
        ("search", "{}", "--target", "xnli"),
    ],
)
def test_an_expression_that_cannot_be(refused, command, expression, code, said, named):
    words = [word.replace("{}", expression) for word in command]
    status, text = refused(*words, *named)
    assert status == code, text
    assert said in text


def test_a_missing_head(refused):
    for words in (("none", "--task", "xnli"), ("none", "mnli", "--task", "xquad")):
        for dry in ((), ("--dry-run",)):
            status, text = refused(*dry, "eval", *words)
            assert status == 2
            assert f"'none' has no head for task {words[-1]}" in text


def test_the_hint_names_a_task_as_it_was_given(refused, tmp_path):
    path = tmp_path / "my own.yaml"
    path.write_text(OWN)
    status, text = refused("eval", "none", "--task", str(path))
    assert status == 2
    assert f"xstilts compose 'none' --target '{path}' --save NAME" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train-adapter", "mnli", "--name", "No Name"), "'No Name' cannot name a module"),
        (("train-adapter", "mnli", "--method", "lorra"), "unknown method 'lorra'"),
        (("train-adapter", "mnli", "--set", "options.reduction=2"), "options"),
        (("train-adapter", "mnli", "--set", "train.epoch=2"), "train.epoch: unknown key"),
        (("train-adapter", "mnli", "--set", "train.epochs=inf"), "train.epochs: input should be"),
        (("train-adapter", "mnli", "--set", "train.lr=nan"), "train.lr: input should be"),
        (("compose", "mnli", "--save", "No Name"), "'No Name' cannot name a module"),
        (("compose", "average(mnli*1e400, mnli)", "--save", "x"), "'1e400' is too large"),
        (("train-adapter", "mnli", "--seed", str(2**63)), "train.seed: input should be less"),
        (("rank", "xnli", "--shots", "0"), "shots: input should be greater than 0"),
        (("rank", "xnli", "--seed", "-1"), "seed: input should be greater"),
        (("search", "average(mnli, mnli)", "--target", "xnli", "--budget", "0"), "budget: input"),
        (("run", "quick", "--seeds", "1,1"), "no seeds: '1,1'"),
        (("run", "quick", "--seeds", "1,-2"), "no seeds: '1,-2'"),
        (("--world", f"sandbox:seed={2**63}", "data", "ls"), "seed: input should be less"),
        (("--world", "sandbox:noise.snli=2", "data", "ls"), "noise.snli: input should be less"),
        (("report", "--draws", "-1"), "'--draws': Input should be greater than or equal to 0"),
        (("data", "show", "xnli", "--limit", "-1"), "'--limit': Input should be greater than"),
        (("train", "mnli", "--nproc", "0"), "'--nproc': Input should be greater than or equal"),
    ],
)
def test_a_wrong_setting(refused, words, said):
    status, text = refused(*words)
    assert status == 2, text
    assert said in text


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--zoo", ("train-adapter", "mnli")),
        ("--zoo", ("compose", "none", "--save", "x")),
        ("--zoo", ("xtreme", "none", "--tasks", "xnli")),
        ("--results", ("eval", "none", "--task", "tatoeba")),
        ("--results", ("xtreme", "none", "--tasks", "tatoeba")),
        ("--results", ("align", "none", "--task", "tatoeba")),
    ],
)
def test_a_folder_that_cannot_be_written(refused, option, words, tmp_path, monkeypatch):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    status, text = refused(*words, option, str(taken / "below"))
    assert status == 2, text
    assert f"{taken} is a file" in text
    assert f"{option} DIR" in text
    locked = tmp_path / "locked"
    locked.mkdir()
    monkeypatch.setattr("xstilts.config.paths.os.access", lambda path, _mode: path != locked)
    status, text = refused(*words, option, str(locked / "below"))
    assert status == 2, text
    assert f"{locked} is read-only" in text


ONLY_ON_A_HUB = [
    (("train-adapter", "mnli"), "mnli, split 'train' in 'en'"),
    (
        ("train-adapter", "mnli", "--mlm", "0.1", "--text", "sw=nowhere.txt"),
        "mnli, split 'train' in 'en'",
    ),
    (("compose", "mnli", "--target", "xnli", "--save", "x"), "mnli, split 'train' in 'en'"),
    (("eval", "mnli", "--task", "xnli"), "xnli, split 'test' in 'ar'"),
    (("eval", "none", "--task", "tatoeba"), "tatoeba, split 'test.source' in 'ar'"),
    (("xtreme", "none", "--tasks", "xnli,tatoeba"), "xnli, split 'test' in 'ar'"),
    (("align", "none", "--task", "tatoeba"), "tatoeba, split 'test.source' in 'ar'"),
    (("rank", "xnli", "--modules", "mnli"), "mnli, split 'train' in 'en'"),
    (("search", "average(mnli, mnli)", "--target", "xnli"), "xnli, split 'validation' in 'en'"),
]
NOWHERE = [
    (("train-adapter", "mnli", "--source-langs", "de"), "task mnli has no training rows in 'de'"),
    (("train-adapter", "mlm"), "there is no text for masked language modelling"),
    (("train-adapter", "mlm", "--text", "sw=nowhere.txt"), "no text file nowhere.txt"),
    (("train-adapter", "bitexts"), "no task named 'bitexts'"),
    (("eval", "mnli", "--task", "xnli", "--langs", "xx"), "no language of task xnli named 'xx'"),
    (("xtreme", "mnli", "--tasks", "xnli", "--langs", "deu"), "no language of task xnli named"),
    (("align", "none", "--task", "tatoeba", "--langs", "xx"), "no language of task tatoeba named"),
    (("rank", "xnli", "--methods", "guess"), "no estimate named 'guess'"),
    (("rank", "{own}", "--modules", "mnli"), "task own has no rows for split 'train' in 'en'"),
    (("train-adapter", "{own}"), "task own has no rows for split 'train' in 'en'"),
]


@pytest.mark.parametrize(("words", "said"), ONLY_ON_A_HUB)
def test_rows_that_only_a_hub_has(refused, words, said, monkeypatch):
    monkeypatch.setattr("xstilts.train.search.require_cma", lambda: None)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for offline, why in (((), "127.0.0.1:9 does not answer"), (("--offline",), "is offline")):
        status, text = refused(*words, *offline)
        assert status == 6, text
        assert f"task {said} is only on a hub, and" in text
        assert why in text
        assert "looked for" in text


@pytest.mark.parametrize(("words", "said"), NOWHERE)
def test_rows_that_are_nowhere(refused, words, said, tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    status, text = refused(*(word.replace("{own}", str(tmp_path / "own.yaml")) for word in words))
    assert status == 4, text
    assert said in text


@pytest.mark.parametrize(
    "words",
    [
        ("search", "average(mnli, mnli)", "--target", "xnli", "--save", "x"),
        ("zoo", "shrink", "mnli"),
    ],
)
def test_a_library_that_cannot_keep_the_result(refused, zoo, words, monkeypatch):
    monkeypatch.setattr(
        "xstilts.config.paths.os.access", lambda path, mode: path != zoo or not mode & os.W_OK
    )
    status, text = refused(*words)
    assert status == 2, text
    assert f"{zoo} is read-only" in text


def test_a_name_that_cannot_be_kept(refused):
    words = ("search", "average(mnli, mnli)", "--target", "xnli", "--save", "No Name")
    status, text = refused(*words)
    assert status == 2, text
    assert "'No Name' cannot name a module" in text


def test_an_import_from_or_to_nowhere(refused, tmp_path):
    status, text = refused("zoo", "import", str(tmp_path / "nothing"))
    assert (status, "no folder" in text) == (4, True), text
    (tmp_path / "theirs").mkdir()
    status, text = refused("zoo", "import", str(tmp_path / "theirs"), "--task", "xnlo")
    assert (status, "no task named 'xnlo'" in text) == (4, True), text
    (tmp_path / "file").write_text("x")
    to = ("--zoo", str(tmp_path / "file" / "zoo"))
    status, text = refused("zoo", "import", str(tmp_path / "theirs"), *to)
    assert (status, "--zoo DIR" in text) == (2, True), text


@pytest.mark.parametrize(
    "words",
    [
        ("train-adapter", "mnli"),
        ("eval", "none", "--task", "tatoeba"),
        ("xtreme", "none", "--tasks", "tatoeba"),
        ("align", "none", "--task", "tatoeba"),
        ("rank", "xnli"),
        ("search", "average(mnli, mnli)", "--target", "xnli"),
    ],
)
def test_a_cache_that_cannot_be_written(refused, words, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XSTILTS_CACHE", str(tmp_path / "file" / "cache"))
    status, text = refused(*words)
    assert status == 2, text
    assert "XSTILTS_CACHE" in text


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("predict", "stack(lang-{lang}, mnli)", "--text", "a"), 2, "needs a language"),
        (("predict", "stack(lang-{lang}, mnli)", "--text", "a", "--langs", "sw"), 4, "'lang-sw'"),
    ],
)
def test_a_language_module_that_is_nowhere(refused, words, status, said):
    found, text = refused(*words)
    assert found == status, text
    assert said in text


def test_a_task_that_trains_nothing(refused):
    status, text = refused("train-adapter", "tatoeba")
    assert status == 2, text
    assert "task tatoeba trains nothing" in text


def test_a_submission_that_has_no_place(refused, tmp_path):
    (tmp_path / "file").write_text("x")
    for place, said in (("file", "is a file"), ("data", "is not empty")):
        (tmp_path / "data" / "something").touch()
        to = ("--submit-dir", str(tmp_path / place))
        status, text = refused("xtreme", "none", "--tasks", "tatoeba", *to)
        assert status == 2, text
        assert said in text
        assert "--submit-dir" in text


def test_a_path_that_is_taken(refused, tmp_path, zoo):
    (tmp_path / "file").write_text("x")
    fill(tmp_path / "results", tasks=("xnli",), most=1, aligned=False)
    for words in (
        ("--results", str(tmp_path / "results"), "report", "--draws", "0", "--html", str(tmp_path)),
        ("zoo", "bundle", str(tmp_path / "file" / "in"), "mnli"),
        ("recipes", "cp", "quick", str(tmp_path / "file" / "mine.yaml")),
    ):
        status, text = refused(*words)
        assert status in (1, 2), text
        assert "error[XS-" in text


def test_a_gpu_that_is_not_there(refused):
    status, text = refused("bench", "--gpu")
    assert status == 2, text
    assert "there is no accelerator here" in text


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "mnli", "--task", "{own}", "--precision", "bf16"),
        ("xtreme", "mnli", "--tasks", "{own}", "--precision", "bf16"),
        ("train-adapter", "{own}", "--set", "train.precision=bf16"),
    ],
)
def test_bf16_where_the_processor_emulates_it(refused, words, tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text(
        OWN.replace("train_task: own", "train_task: mnli\nfamily: nli")
    )
    (tmp_path / "data" / "own").mkdir()
    for split in ("train", "test"):
        rows = '{"text": "a", "text_pair": "b", "label": "neutral"}\n'
        (tmp_path / "data" / "own" / f"{split}.jsonl").write_text(rows)
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPUINFO", info)
    filled = [word.replace("{own}", str(tmp_path / "own.yaml")) for word in words]
    for flags, lacks in (("sse avx2", True), ("avx2 avx512_bf16", False)):
        info.write_text(f"model name : Some CPU\nflags : {flags}\n")
        machine.processor_flags.cache_clear()
        machine._processor.cache_clear()
        if lacks:
            status, text = refused(*filled)
            assert status == 2, text
            assert "(Some CPU) has no bfloat16 units" in text
        else:
            with pytest.raises(AssertionError, match="a backbone is loaded"):
                refused(*filled)
    machine.processor_flags.cache_clear()
    machine._processor.cache_clear()


@pytest.mark.parametrize("command", ["zoo ls", "zoo search own", "zoo verify", "zoo gc"])
@pytest.mark.parametrize("kind", ["nowhere", "a file"])
def test_a_library_that_is_not_there_is_no_empty_one(command, kind, tmp_path, capsys):
    place = tmp_path / "library"
    if kind == "a file":
        place.write_text("")
    with pytest.raises(SystemExit) as caught:
        main(["--zoo", str(place), *command.split()])
    assert caught.value.code == 4
    said = capsys.readouterr()
    assert "no module library" in said.err
    assert said.out == ""
    assert place.exists() == (kind == "a file")
