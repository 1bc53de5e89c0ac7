"""Recipes on a small sandbox world, by the command line."""

from __future__ import annotations

import re

import pytest

from xstilts.cli import main
from xstilts.config.load import (
    config_folder,
    load_recipe,
    load_task,
    short_name,
    spec_names,
    tasks_of,
    train_task_of,
)
from xstilts.session import Session

pytestmark = pytest.mark.long

TINY = """
intermediates: [none, mnli, {name: both, tasks: "mnli,qqp", settings: {mlm: {share: 0.2}}}]
targets: [xnli, tatoeba]
sandbox:
  intermediate: {method: seq_bn, train: {max_steps: 3}}
  target: {method: seq_bn, train: {max_steps: 3}}
"""
COMPOSED = """
intermediates:
  - {name: average, compose: "average(qqp*0.75, mnli*0.25)"}
  - {name: fuse, compose: "fuse(mnli, qqp)"}
  - mnli
  - qqp
targets: [xnli, tatoeba]
seeds: [7]
sandbox:
  intermediate: {method: seq_bn, train: {max_steps: 3}}
  target: {method: seq_bn, train: {max_steps: 3}}
"""
WRONG = """
intermediates: [mnli, ROWS]
targets: [xnli]
sandbox:
  intermediate: {method: seq_bn, train: {max_steps: 3}}
  target: {method: seq_bn, train: {max_steps: 3}}
"""
MAD_X = """
intermediates: [none, qqp]
targets: [xnli, tatoeba]
language: {method: lang}
sandbox:
  intermediate: {method: seq_bn, train: {max_steps: 2}}
  target: {method: seq_bn, train: {max_steps: 2}}
  language: {method: lang, train: {max_steps: 2}}
"""


@pytest.mark.parametrize("name", spec_names("recipes"))
def test_shipped_recipes_name_what_exists(name):
    recipe = load_recipe(name)
    for row in recipe.intermediates:
        for task in (
            tasks_of(row.tasks or row.name) if row.name != "none" and not row.compose else []
        ):
            load_task(task)
    for target in recipe.targets:
        assert "target" in load_task(target).roles
    trained = {short_name(train_task_of(target)) for target in recipe.targets}
    assert not recipe.target or set(recipe.target.by_task) <= trained
    assert recipe.sandbox


def test_a_recipe_runs_once(run, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    plan = run("run", str(path), "--dry-run")
    assert [phase["state"] for phase in plan["phases"]] == ["new"] * 5
    assert plan["evaluations"] == 6
    first = run("run", str(path))
    # 8 languages of xnli and 7 of tatoeba, in three rows
    assert (first["computed"], first["missing"]) == (45, [])
    assert {row["intermediate"] for row in first["scores"]} == {"none", "mnli", "both"}
    again = run("run", str(path))
    assert again["computed"] == 0
    assert [row["value"] for row in again["scores"]] == [row["value"] for row in first["scores"]]
    plan = run("run", str(path), "--dry-run")
    assert [phase["state"] for phase in plan["phases"]] == ["found"] * 5
    listed = {row["reference"].partition("/")[0] for row in run("zoo", "ls")}
    assert listed == {"mnli", "both", "mnli-after-none", "mnli-after-mnli", "mnli-after-both"}


def test_a_row_composes_other_rows(run, tmp_path):
    path = tmp_path / "composed.yaml"
    path.write_text(COMPOSED)
    plan = run("run", str(path), "--dry-run")["phases"]
    below = ["qqp/7", "mnli/7", "mnli/average/7", "mnli/fuse/7", "mnli/mnli/7", "mnli/qqp/7"]
    assert [phase["phase"] for phase in plan] == below
    first = run("run", str(path))
    assert first["missing"] == []
    average = run("zoo", "show", "mnli-after-average")
    made = [row["reference"] for row in run("zoo", "ls") if row["seed"] == 7]
    trained = {reference.partition("/")[0]: reference for reference in made}
    ends = [trained[name].rpartition("@")[2] for name in ("qqp", "mnli")]
    assert re.fullmatch(
        r"average\(@{}\w+\*0.75, @{}\w+\*0.25\)".format(*ends), average["composition"]
    )
    rows = [row for row in first["scores"] if row["intermediate"] == "average"]
    assert {row["task"] for row in rows} == {"xnli", "tatoeba"}
    text = f"average(@{ends[0]}*0.75, @{ends[1]}*0.25)"
    by_hand = run("eval", text, "--task", "tatoeba", "--langs", "qab")["scores"][0]
    own = next(r for r in rows if (r["task"], r["language"]) == ("tatoeba", "qab"))
    assert own["value"] == by_hand["value"]
    assert run("run", str(path))["computed"] == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "{name: x, compose: 'average(mnli, qqp)'}",
            "intermediates.x: 'qqp' is no row that trains",
        ),
        (
            "{name: x, compose: 'average(mnli, y)'}, {name: y, compose: mnli}",
            "'y' is no row that trains",
        ),
        ("{name: x, compose: none}", "it composes no row"),
        ("{name: x, compose: 'averag(mnli)'}", "averag"),
        ("{name: x, compose: 'stack(mnli, mnli)', tasks: mnli}", "so it trains nothing"),
        (
            "{name: x, compose: 'average(mnli, b)'},"
            " {name: b, tasks: mnli, settings: {method: lora}}",
            "lora",
        ),
    ],
)
def test_rows_that_cannot_be_composed_are_refused(row, said, run, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG.replace("ROWS", row))
    assert said in run("run", str(path), "--dry-run", code=2)


def test_a_program_runs_the_rows_and_targets_of_a_recipe_that_it_names(run, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    session = Session(world="sandbox", quiet=True)
    chosen = {"intermediates": ["mnli"], "targets": ["xnli"], "seeds": [7]}
    plan = session.plan_recipe(str(path), **chosen)
    assert [phase["kind"] for phase in plan["phases"]] == ["intermediate", "target"]
    assert plan["evaluations"] == 1
    found = session.run_recipe(str(path), **chosen)
    scores = found.to_pandas()
    assert set(scores["intermediate"]) == {"mnli"} and set(scores["task"]) == {"xnli"}
    assert set(scores["seed"]) == {7}
    assert "xnli" in repr(found) and "<table" in found._repr_html_()
    by_command = run("run", str(path), "--intermediates", "mnli", "--targets", "xnli", "--seeds=7")
    assert by_command["computed"] == 0
    assert by_command["scores"] == found.records()


def test_a_task_in_a_file_trains_on_its_own_rows(run, tmp_path):
    own, recipe = tmp_path / "mine.yaml", tmp_path / "own.yaml"
    text = (config_folder() / "tasks" / "mnli.yaml").read_text()
    own.write_text(text.replace("train_task: mnli", "train_task: mine"))
    assert (train_task_of(str(own)), train_task_of("xnli")) == (str(own), "mnli")
    recipe.write_text(TINY.replace("[xnli, tatoeba]", f"['{own}']").replace('"mnli,qqp"', "qqp"))
    plan = run("run", str(recipe), "--dry-run")
    targets = [phase["phase"] for phase in plan["phases"] if phase["kind"] == "target"]
    assert targets == [f"mine/{row}/42" for row in ("none", "mnli", "both")]


def test_language_adapters_are_swapped_at_evaluation(run, tmp_path):
    path = tmp_path / "madx.yaml"
    path.write_text(MAD_X)
    made = run("run", str(path))
    assert made["missing"] == []
    expressions = {
        row["language"]: row["expression"]
        for row in made["scores"]
        if row["task"] == "xnli" and row["intermediate"] == "qqp"
    }
    listed = {row["reference"].split("@")[1]: row["reference"] for row in run("zoo", "ls")}
    for language, expression in expressions.items():
        parts = [part.strip(" @)")[:12] for part in expression.removeprefix("stack(").split(",")]
        names = [listed[part].split("/")[0] for part in parts]
        assert names == [f"lang-{language}", "qqp", "mnli-after-qqp"]


def test_mistakes_in_a_recipe_are_all_listed(run, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("intermediates: [mnly]\ntargets: [xnly]\n")
    error = run("run", str(path), code=2, as_json=True)
    assert [problem["place"] for problem in error["problems"]] == ["intermediates", "targets"]
    assert run("run", "quik", code=4, as_json=True)["hint"]
    assert "lap" in run("run", "quick", "--rows", "lap", code=4, as_json=True)["what"]


def test_recipes_are_listed_and_copied(run, tmp_path):
    names = {row["recipe"] for row in run("recipes", "ls")}
    assert names >= {"x-stilts", "x-stilts-adapters", "x-stilts-lora", "mad-x", "quick"}
    run("recipes", "cp", "quick", str(tmp_path / "mine.yaml"))
    text = run("recipes", "cat", "quick")["yaml"]
    assert (tmp_path / "mine.yaml").read_text() == text


def test_a_plan_without_a_training_says_so(home, tmp_path, capsys):
    recipe = tmp_path / "untouched.yaml"
    recipe.write_text("intermediates: [none]\ntargets: [tatoeba]\n")
    with pytest.raises(SystemExit) as caught:
        main(["--world", "sandbox", "-q", "run", str(recipe), "--dry-run"])
    assert not caught.value.code
    assert "0 of 0 phases to run" in capsys.readouterr().out
