"""A tiny study on a small sandbox world, by the command line."""

from __future__ import annotations

import json

import pytest

from xstilts.cli import main
from xstilts.config.load import spec_names
from xstilts.config.run import RunSpec, resolve_run
from xstilts.files import digest
from xstilts.grid.spec import load_study

pytestmark = pytest.mark.long

WORLD = (
    "sandbox:train_rows=120,dev_rows=30,test_rows=30,bitext_rows=30,text_rows=60,"
    "pretraining_steps=4"
)
TINY = """
question: Does it run?
intermediates: [none, mnli]
targets: [xnli, tatoeba]
seeds: [1, 2]
depths: [0.5, 1.0]
sandbox:
  intermediate: {method: seq_bn, train: {max_steps: 3}}
  target: {method: seq_bn, train: {max_steps: 3}}
"""
COMPOSED = """
question: Does it compose?
intermediates: [{name: both, compose: "average(mnli, qqp)"}, mnli, qqp]
targets: [xnli]
alignment: [tatoeba]
curve: true
seeds: [1]
depths: [1.0]
sandbox:
  intermediate: {method: seq_bn, train: {max_steps: 2, save_every: 2}}
  target: {method: seq_bn, train: {max_steps: 2}}
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture
def call(home, capsys, tmp_path):
    def call(*arguments, code=0):
        with pytest.raises(SystemExit) as caught:
            main(["--world", WORLD, "--results", str(tmp_path / "r"), "-q", "--json", *arguments])
        output = capsys.readouterr()
        assert (caught.value.code or 0) == code, output.err
        return [json.loads(text) for text in (output.out, output.err) if text.strip()]

    return call


def rows(folder):
    """Every score row below a result store, without its time."""
    found = []
    for path in sorted(folder.glob("cells/*/*/cell.json")):
        found += json.loads(path.read_text())["scores"]
    return found


def test_a_study_is_planned_run_and_never_computed_again(call, study, tmp_path):
    planned = call("grid", "plan", study)[0]
    # 2 seeds: mnli, and heads for xnli after none and after mnli; tatoeba needs none
    kinds = {group["kind"]: group["cells"] for group in planned["groups"]}
    assert kinds == {"train": 6, "evaluate": 2 * 2 + 2 + 1}
    assert (planned["total"]["new"], planned["total"]["steps"]) == (13, 18)
    assert planned["total"]["hours"] > 0
    assert planned["total"]["MB"] > 0
    assert call("grid", "status", study, code=4)[0]["code"] == "XS-NOT-FOUND"

    # an engine's worker needs the plan that `run` leaves; this one does a single cell first
    from xstilts.grid import drive

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "_worker_pool", _nobody)
        # only a plan says what cells will take, which reads some of their rows
        patch.setattr("xstilts.grid.plan.estimate", lambda *_: pytest.fail("a run is estimated"))
        assert call("grid", "run", study, code=75)[0]["counts"]["done"] == 0
    evaluated = next(c for c in planned["cells"] if c["name"] == "mnli/1 on tatoeba")
    done = call("grid", "run", study, "--cell", evaluated["cell"])[0]
    assert (done["computed"], done["counts"]) == (2, {"done": 2})
    done = call("grid", "run", study, "--cell", "all")[0]
    assert (done["computed"], done["counts"]) == (11, {"done": 13})
    assert call("grid", "run", study, "--cell", "all")[0]["computed"] == 0

    status = call("grid", "status", study)[0]
    assert status["counts"]["done"] == 13
    planned = call("grid", "plan", study)[0]
    assert (planned["total"]["cached"], planned["total"]["steps"]) == (13, 0)

    # its modules stand apart from the library until one is tagged; the study knows them still
    assert call("zoo", "ls") == [[]]
    assert len(call("zoo", "ls", "--all")[0]) == 6
    made = call("zoo", "ls", "--study", "tiny")[0]
    assert sorted(row["seed"] for row in made) == [1, 1, 1, 2, 2, 2]  # two heads of xnli, too
    assert call("zoo", "ls", "--study", "tinny", code=4)[0]["hint"].startswith(
        "Did you mean 'tiny'"
    )
    call("zoo", "tag", "@" + made[0]["reference"].rpartition("@")[2], "best")
    assert [row["reference"] for row in call("zoo", "ls")[0]] == [made[0]["reference"]]
    assert call("grid", "run", study)[0]["counts"]["done"] == 13

    found = rows(tmp_path / "r")
    main_rows = [row for row in found if row["main"]]
    # 8 languages of xnli for 4 models; 7 of tatoeba for 3 models in 2 layers
    assert len(main_rows) == 8 * 4 + 7 * 3 * 2
    assert {row["layer"] for row in main_rows if row["task"] == "tatoeba"} == {2, 4}
    assert {row["seed"] for row in main_rows if row["intermediate"] == "mnli"} == {1, 2}


def test_rows_of_a_study_are_composed_of_others(call, tmp_path):
    path = tmp_path / "composed.yaml"
    path.write_text(COMPOSED)
    planned = call("grid", "plan", str(path))[0]
    names = {cell["name"] for cell in planned["cells"]}
    assert {"mnli/both/1", "both/1 on xnli", "both/1 on tatoeba"} < names
    done = call("grid", "run", str(path))[0]
    assert done["counts"]["done"] == len(names)
    found = [row for row in rows(tmp_path / "r") if row["task"] == "tatoeba"]
    steps = {(row["intermediate"], row["step"]) for row in found}
    # a curve has the snapshots of what was trained; what is composed has none
    assert steps == {("both", -1), *((f"mnli-step{n}", n) for n in (0, 2)), ("mnli", -1)} | {
        *((f"qqp-step{n}", n) for n in (0, 2)),
        ("qqp", -1),
    }
    both = [row for row in found if row["intermediate"] == "both"]
    assert {row["expression"].count("@") for row in both} == {2}
    assert call("grid", "run", str(path))[0]["counts"] == done["counts"]


def test_runs_of_two_parts_of_a_study_that_begin_together_each_compute_their_own(call, study):
    from xstilts.grid import drive

    commands = []

    def nobody(command, *others):
        commands.append(command[command.index("grid") :])
        return _nobody(command, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "_worker_pool", nobody)
        for row in ("none", "mnli"):
            command = ("grid", "run", study, "--intermediates", row)
            patch.setattr("sys.argv", ["xstilts", *command])
            assert call(*command, code=75)[1]["hint"] == f"Go on: xstilts {' '.join(command)}"
    # heads and evaluations of xnli and one of tatoeba; modules, heads and evaluations of both
    assert [call(*command)[0]["counts"] for command in commands] == [{"done": 5}, {"done": 8}]


def _nobody(command, planned, context, workers, told):
    from xstilts.grid.engines import WorkerPool

    return WorkerPool((), 0, context.results, lambda: True)


def test_a_failing_cell_is_reported_and_the_rest_is_finished(call, study, monkeypatch):
    from xstilts.errors import DataError
    from xstilts.grid import drive
    from xstilts.grid.kinds import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "_worker_pool", _nobody)
        call("grid", "run", study, code=75)
    plain = train.run

    def run(cell, context):
        if cell.name == "mnli/2":
            raise DataError("row 7 is broken", where="train.tsv:7")
        return plain(cell, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "run", run)
        record, error = call("grid", "run", study, "--cell", "all", code=3)
    # mnli/2, the head above it and two evaluations
    assert record["counts"] == {"done": 9, "failed": 1, "blocked": 3}
    assert error["code"] == "XS-FINDINGS"
    status = call("grid", "status", study)[0]
    assert [(f["name"], f["error"], f["where"]) for f in status["failed"]] == [
        ("mnli/2", "DataError", "train.tsv:7")
    ]
    (log,) = call("grid", "logs", study)[0]
    assert "row 7 is broken" in log["log"]
    assert call("grid", "plan", study)[0]["total"]["failed"] == 1
    assert call("grid", "retry", study)[0]["retried"] == [status["failed"][0]["cell"]]
    assert call("grid", "run", study, "--cell", "all")[0]["counts"] == {"done": 13}


def test_a_module_that_was_removed_is_made_again(call, study):
    from xstilts.grid import drive

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drive, "_worker_pool", _nobody)
        call("grid", "run", study, code=75)
        call("grid", "run", study, "--cell", "all")
        reference = next(
            row["reference"]
            for row in call("zoo", "ls", "--all")[0]
            if row["reference"].startswith("mnli-after-mnli/")
        )
        call("zoo", "rm", reference, "-y")
        record = call("grid", "run", study, code=75)[0]
    assert record["counts"]["done"] == 12
    assert call("grid", "run", study, "--cell", "all")[0]["counts"] == {"done": 13}


def test_what_has_no_data_is_left_out_and_named(call, tmp_path):
    path = tmp_path / "part.yaml"
    path.write_text(
        "intermediates: [none, mnli, qasrl, {name: far, tasks: tydiqa, settings: {source: "
        "{languages: [qag], origin: translated}}}]\n"
        "targets: [tatoeba, lareqa]\nseeds: [1]\nsandbox: {intermediate: {train: {max_steps: 1}}}\n"
    )
    planned = call("grid", "plan", str(path))[0]
    assert [cell["name"] for cell in planned["cells"]] == [
        "none on tatoeba",
        "mnli/1",
        "mnli/1 on tatoeba",
    ]
    assert [text.partition(":")[0] for text in planned["missing"]] == ["lareqa", "qasrl", "far"]
    assert "no translated rows in 'qag'" in planned["missing"][-1]
    path.write_text("intermediates: [qasrl]\ntargets: [lareqa]\n")
    error = call("grid", "plan", str(path), code=4)[0]
    assert "lareqa" in error["where"]


@pytest.mark.parametrize("task", ["cad_nli", "mnli", "codah"])  # the first states no epochs
def test_settings_are_the_same_after_a_plan_was_written(task):
    run = resolve_run(task, {"method": "full"}, [], None, "pico").value
    again = RunSpec.model_validate(json.loads(json.dumps(run.model_dump())))
    assert digest(again.model_dump()) == digest(run.model_dump())


def test_mistakes_are_named(call, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("intermediates: [mnly]\ntargets: [xnly]\n")
    problems = call("grid", "plan", str(path), code=2)[0]["problems"]
    assert [problem["place"] for problem in problems] == ["intermediates", "targets"]
    path.write_text("intermediates: [mnli]\ntarget: [xnli]\nsandbox: {sed: [1]}\n")
    places = [p["place"] for p in call("grid", "plan", str(path), code=2)[0]["problems"]]
    assert "sed" in places
    assert call("grid", "plan", "alignmnt", code=4)
    path.write_text("intermediates: [none]\ntargets: [tatoeba]\n")
    assert "engine" in call("grid", "run", str(path), "--engine", "raj", code=4)[0]["what"]
    assert "lap" in call("grid", "plan", str(path), "--rows", "lap", code=4)[0]["what"]


@pytest.mark.parametrize("name", spec_names("studies"))
def test_shipped_studies_can_be_read_for_both_worlds(name):
    for sandbox in (True, False):
        study = load_study(name, sandbox=sandbox)
        assert study.question
        assert len(study.seeds) >= 3
