"""A suite says which languages its tasks have: in the plan, the data commands and the run."""

from __future__ import annotations

import json
import shutil

import pytest
from support.models import tiny_backbone

from xstilts.cli import main
from xstilts.config.load import load_suite, load_task
from xstilts.errors import NotFoundError
from xstilts.evaluate.cells import jobs_of
from xstilts.evaluate.request import Request
from xstilts.session import Session

ISO3 = {"de": "deu", "lt": "lit", "ro": "ron"}


@pytest.fixture
def data(tmp_path):
    """Tatoeba in German, Lithuanian and Romanian, XQuAD in English and Romanian."""
    (tmp_path / "tatoeba").mkdir()
    for code in ISO3.values():
        (tmp_path / f"tatoeba/tatoeba.{code}-eng.{code}").write_text("a b\nc d\n", "utf-8")
        (tmp_path / f"tatoeba/tatoeba.{code}-eng.eng").write_text("A B\nC D\n", "utf-8")
    answer = {"text": "b", "answer_start": 2}
    question = {"id": "1", "question": "what ?", "answers": [answer]}
    article = {"title": "t", "paragraphs": [{"context": "a b", "qas": [question]}]}
    (tmp_path / "xquad").mkdir()
    for code in ("en", "ro"):
        path = tmp_path / f"xquad/xquad.{code}.json"
        path.write_text(json.dumps({"version": "1", "data": [article]}), "utf-8")
    return tmp_path


def planned(data, task, suite="", languages=()):
    request = Request("none", task, languages=languages, suite=suite)
    jobs, missing = jobs_of([request, request], tiny_backbone(), data, "fp32")
    assert len(jobs) % 2 == 0
    return [job.language for job in jobs[: len(jobs) // 2]], missing


def test_a_suite_brings_its_own_languages(data):
    found, missing = planned(data, "tatoeba", "xtreme-r")
    assert found == ["de", "lt", "ro"]
    # Each of the others once, with a place where it would be.
    assert len(missing) == 41 - 3
    assert missing["tatoeba/az"].endswith("tatoeba/tatoeba.aze-eng.aze")
    assert planned(data, "xquad", "xtreme-r")[0] == ["en", "ro"]
    assert planned(data, "tatoeba", "xtreme")[0] == ["de"]
    assert planned(data, "xquad")[0] == ["en"]


def test_a_language_beyond_the_task_can_be_asked_for(data):
    assert planned(data, "xquad", languages=("ro",)) == (["ro"], {})
    with pytest.raises(NotFoundError, match="language of task xquad"):
        planned(data, "xquad", languages=("lt",))


def test_every_language_of_a_suite_is_one_that_the_task_reads():
    for name in ("xtreme", "xtreme-r"):
        for task, codes in load_suite(name).tasks.items():
            assert set(codes) <= set(load_task(task).every_language), (name, task)


def test_without_a_data_folder_every_language_comes_from_the_hub():
    found, missing = planned(None, "tatoeba", "xtreme-r")
    assert sorted(found) == sorted(load_suite("xtreme-r").tasks["tatoeba"])
    assert missing == {}


def test_tasks_without_a_language_that_is_asked_for_are_left_out_and_named(data, tmp_path, capsys):
    session = Session(data=data, zoo=tmp_path / "zoo", results=tmp_path / "results", offline=True)
    (tmp_path / "zoo").mkdir()

    def asked(tasks, langs):
        requests, _ = session.suite_requests(
            "none", tasks=tasks, suite="xtreme-r", langs=langs, plan_only=True
        )
        return {request.task: request.languages for request in requests}

    both = ["tatoeba", "bucc2018"]
    assert asked(both, ["lt"]) == {"tatoeba": ("lt",)}
    assert "left out, as they have no lt: bucc2018" in capsys.readouterr().err
    assert asked(["tatoeba"], ["lt", "de"]) == {"tatoeba": ("lt", "de")}
    assert asked(["tatoeba"], []) == {"tatoeba": ()}
    assert "left out" not in capsys.readouterr().err
    for tasks in (both, ["bucc2018"]):
        with pytest.raises(NotFoundError, match="named 'xx'"):
            asked(tasks, ["xx"])


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return caught.value.code or 0, output


def test_data_commands_see_every_language_and_name_what_a_suite_lacks(data, capsys):
    code, output = call(capsys, "--json", "data", "ls", "xquad", "--data", data)
    assert code == 0
    assert [row["language"] for row in json.loads(output.out)] == ["en", "ro"]
    shutil.rmtree(data / "tatoeba")
    code, output = call(
        capsys, "--json", "data", "check", "xquad", "--suite", "xtreme-r", "--data", data
    )
    lacking = [f for f in json.loads(output.out)["findings"] if f["kind"] == "missing"]
    assert code == 3
    (finding,) = lacking
    assert "es, de, el" in finding["message"]
    assert "ro" not in finding["message"].split(" in ")[1].split(", ")
    code, output = call(capsys, "--json", "--offline", "data", "prepare", "xquad", "--data", data)
    assert [row["language"] for row in json.loads(output.out)["ready"]] == ["en", "ro"]


def test_prepare_names_what_is_nowhere_and_score_takes_the_rest(data, tmp_path, capsys):
    ready = tmp_path / "ready"
    words = ("data", "prepare", "tatoeba", "--suite", "xtreme-r", "--raw", data, "--data", ready)
    code, output = call(capsys, "--offline", *words)
    assert code == 0
    assert "tatoeba: no test rows in ar, he," in output.err
    assert "tatoeba.ara-eng.ara" in output.err
    labels = ready / "labels"
    shutil.copytree(labels / "tatoeba", tmp_path / "own/tatoeba")
    code, output = call(capsys, "--json", "score", tmp_path / "own", labels, "--suite", "xtreme-r")
    assert code == 3  # of 41 languages three are there
    assert set(json.loads(output.out)["tatoeba"]["accuracy"]) == {"de", "lt", "ro"}
    (tmp_path / "own/tatoeba/test-lt.tsv").unlink()
    code, output = call(capsys, "score", tmp_path / "own", labels, "--suite", "xtreme-r")
    assert code == 3
    assert "39 files of predictions or labels are missing" in output.err
