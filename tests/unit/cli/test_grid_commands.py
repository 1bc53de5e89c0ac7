"""Commands about a study that was started: which one is meant, and what they say to do next."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from support.grid_toy import cell, worker

from xstilts.cli import grid_commands, main
from xstilts.cli.grid_output import status_record
from xstilts.errors import ConfigError, DataError
from xstilts.grid.kinds import train
from xstilts.grid.spec import load_study
from xstilts.grid.state import GridFolder, PlannedStudy


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run a command on the results below `tmp_path`, typed as a person does; stdout and stderr."""

    def call(*words, code=0):
        monkeypatch.setattr("sys.argv", ["xstilts", *words, "--results", str(tmp_path), "--json"])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        assert (caught.value.code or 0) == code, output.err
        return [json.loads(text) for text in (output.out, output.err) if text.strip()]

    return call


@pytest.fixture
def start(tmp_path):
    """Keep the plan of a study, and compute its cells."""

    def start(*cells, name="toy"):
        folder = GridFolder(tmp_path)
        folder.save(PlannedStudy("toy", {}, cells))
        folder.save(PlannedStudy(name, {"question": "Does it?"}, cells))
        worker(tmp_path).work()
        return folder

    return start


@pytest.mark.parametrize("command", ["status", "worker", "retry", "logs", "cancel"])
@pytest.mark.parametrize("study", ["v1.5", "v1.5.yaml", "studies/v1.5.yml", "studies/v1.5"])
def test_a_study_is_known_by_its_name_and_its_file(command, study, call, start):
    start(cell("one", value=1), name="v1.5")
    (record,) = call("grid", command, study)
    assert record == [] if command == "logs" else record["study"] == "v1.5"


@pytest.mark.parametrize("command", ["status", "worker", "retry", "logs", "cancel", "answer"])
def test_a_study_that_was_not_started_is_started_by_the_hint(command, call, tmp_path):
    (error,) = call("grid", command, "own/nli.yaml", "--world", "sandbox", code=4)
    command = f"xstilts --world sandbox --results {tmp_path} grid run own/nli.yaml"
    assert error["hint"] == f"Start it: {command}"


def test_the_hint_about_failed_cells_finds_them(call, start, tmp_path):
    start(cell("bad", error="usage"))
    _, error = call("grid", "worker", "own/toy.yaml", code=3)
    own = f"xstilts --results {tmp_path} grid"
    hint = f"{own} logs own/toy.yaml says why; then {own} retry own/toy.yaml"
    assert error["hint"] == hint


def test_the_hint_about_an_unfinished_answer_finds_the_study(call, start, tmp_path, monkeypatch):
    start(cell("one", value=1))
    record = {"unfinished": ["one"]}
    monkeypatch.setattr(grid_commands, "_write_answer", lambda *_: record)
    _, error = call("grid", "answer", "toy", code=3)
    assert error["hint"] == f"See why: xstilts --results {tmp_path} grid status toy"


def test_a_training_on_other_data_is_planned_again_by_what_keeps_a_plan(monkeypatch):
    monkeypatch.setattr(train, "phase_of", lambda *_: SimpleNamespace(identity_values={}))
    with pytest.raises(DataError) as caught:
        train.run(cell("mnli/1", inputs="of other data"), None)
    assert caught.value.hint.endswith("or plan again: xstilts grid run STUDY.")


def test_a_study_has_no_other_name_than_its_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: other\nintermediates: [none]\ntargets: [tatoeba]\n")
    with pytest.raises(ConfigError, match="name: a study is called as its file is"):
        load_study(str(path), sandbox=False)


@pytest.mark.parametrize("content", ['{"error": "Old", "attempts": 1}', "{", "[]"])
def test_a_failure_that_says_little_is_shown(content, call, start, tmp_path):
    bad = cell("bad", error="bug")
    folder = start(bad)
    for path in folder.folder(bad.key).glob("failure-*.json"):
        path.write_text(content)
    (status,) = call("grid", "status", "toy")
    (failed,) = status["failed"]
    assert (failed["name"], failed["attempts"], failed["hint"]) == ("bad", 2, "")


def test_a_cell_that_was_retried_while_the_status_is_read_is_shown(start):
    bad = cell("bad", error="usage")
    folder = start(bad)
    statuses = folder.statuses([bad])
    folder.forgive(bad.key)
    folder.statuses = lambda _cells: statuses
    (failed,) = status_record(folder, folder.load("toy"))["failed"]
    assert (failed["name"], failed["attempts"]) == ("bad", 0)


def test_a_retry_says_why_a_cell_is_not_tried_again(call, start, tmp_path, capsys):
    good, bad = cell("good", value=1), cell("bad", error="usage")
    start(good, bad, cell("above", bad, value=1))
    (record,) = call("grid", "retry", "toy", "--cell", good.short)
    assert (record["retried"], record["others"]) == ([], {"done": 1})
    with pytest.raises(SystemExit):
        main(["grid", "retry", "toy", "--results", str(tmp_path)])
    assert capsys.readouterr().out == (
        "1 cells will be tried again; the others neither failed nor were cancelled: "
        "1 done, 1 blocked\n"
    )


@pytest.mark.parametrize("command", ["plan", "run"])
def test_the_help_says_what_a_run_of_a_part_does_to_the_other_commands(command, capsys):
    with pytest.raises(SystemExit):
        main(["grid", command, "--help"])
    assert "the other commands speak of this part" in " ".join(capsys.readouterr().out.split())
