"""What is wrong without any weight is refused before a backbone is loaded."""

from __future__ import annotations

import pytest
from support.trained import add_module, backbone_folder

from xstilts.backbone.backbone import Backbone
from xstilts.cli import main
from xstilts.zoo import Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A library with a module for NLI."""
    folder = tmp_path_factory.mktemp("early")
    base = Backbone.load(str(backbone_folder(folder / "pico")))
    add_module(Zoo(folder / "zoo"), base, "mnli")
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train-adapter", "mnli", "--name", "No Name"), "'No Name' cannot name a module"),
        (("train-adapter", "mnli", "--method", "lorra"), "unknown method 'lorra'"),
        (("train-adapter", "mnli", "--set", "options.reduction=2"), "options"),
        (("train-adapter", "mnli", "--set", "train.epoch=2"), "train.epoch: unknown key"),
        (("compose", "mnli", "--save", "No Name"), "'No Name' cannot name a module"),
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
