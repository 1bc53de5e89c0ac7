"""A suite on an X-MOD that lacks some languages: they are named and left out, the others scored."""

from __future__ import annotations

import json

import pytest
from support.format_files import FILES, write_files
from support.trained import backbone_folder

from xstilts import Session
from xstilts.cli import main
from xstilts.errors import UsageError

LACKED = {"udpos": "udpos/test-nl.tsv", "xquad": "xquad/xquad.es.json"}
READ = {"udpos": "udpos/test-de.tsv", "xquad": "xquad/xquad.de.json"}
SETTINGS = ["train.max_steps=1", "train.batch_size=2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("unread"))
    for task, name in LACKED.items():
        (folder / "data" / name).write_text(FILES[READ[task]], "utf-8")
    languages = {"languages": ["en_XX", "de_DE"], "default_language": None}
    backbone_folder(folder / "base", "xmod", **languages)
    return folder


@pytest.fixture
def session(place, monkeypatch):
    for name in ("home", "cache"):
        monkeypatch.setenv(f"XSTILTS_{name.upper()}", str(place / name))
    folders = {name: place / name for name in ("data", "zoo", "results")}
    return Session(backbone=str(place / "base"), offline=True, **folders)


@pytest.mark.long
def test_a_suite_goes_on_without_the_languages_that_have_no_adapter(session, place, capsys):
    found = session.xtreme("none", tasks=[*READ, "bucc2018"], overrides=SETTINGS).outcome
    scored = {(row.task, row.language) for row in found.scores}
    assert scored == {("udpos", "de"), ("xquad", "de"), ("bucc2018", "de")}
    skipped = {name: why for name, why in found.missing.items() if why.startswith("skipped; ")}
    assert skipped == {
        f"{task}/{code}": f"skipped; this X-MOD has no adapter for language '{code}'"
        for task, code in (("udpos", "nl"), ("xquad", "es"))
    }
    folders = [f"--{name}={place / name}" for name in ("data", "zoo", "results")]
    asked = ["eval", "udpos/seq_bn", "--task", "udpos", f"--backbone={place / 'base'}", *folders]
    session.train("udpos", method="seq_bn", settings={"train": {"max_steps": 1, "batch_size": 2}})
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--offline"])
    assert not ended.value.code
    said = capsys.readouterr().err
    assert said.count("udpos: skipped in nl; for nl this X-MOD has no adapter") == 1
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--offline", "--json"])
    assert {"udpos/nl", "udpos/es"} <= set(json.loads(capsys.readouterr().out)["missing"])


STUDY = """
intermediates: [none]
targets: [udpos, xquad]
seeds: [1]
target: {method: head, train: {max_steps: 1, batch_size: 2}}
"""


def test_a_study_and_a_recipe_name_them_once(session, place, capsys, tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(STUDY)
    folders = [f"--{name}={place / name}" for name in ("data", "zoo", "results")]
    lines = [
        f"{task}: skipped in {code}; for {code} this X-MOD has no adapter for language '{code}'"
        for task, code in (("udpos", "nl"), ("xquad", "es"))
    ]
    for words in (("grid", "plan", str(path)), ("run", str(path))):
        asked = [*words, "--backbone", str(place / "base"), *folders, "--offline"]
        with pytest.raises(SystemExit) as ended:
            main([*asked, "--json"])
        assert not ended.value.code
        missing = json.loads(capsys.readouterr().out)["missing"]
        assert [text for text in missing if "skipped" in text] == lines
    with pytest.raises(SystemExit):
        main(["grid", "plan", str(path), "--backbone", str(place / "base"), *folders, "--offline"])
    assert capsys.readouterr().out.count("missing: udpos: skipped in nl") == 1


def test_a_language_that_is_asked_for_and_one_that_is_all_there_is_are_refused(session, place):
    with pytest.raises(UsageError, match="no adapter for language 'nl'"):
        session.xtreme("none", tasks=["udpos"], langs=["nl"], overrides=SETTINGS)
    (place / "data" / READ["xquad"]).unlink()
    with pytest.raises(UsageError, match="no adapter for language 'es'"):
        session.xtreme("none", tasks=["xquad"], overrides=SETTINGS)
