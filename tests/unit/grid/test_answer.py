"""Answers read off drawn study_results: planted effects are found, planted nulls are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xstilts.config.layers import Layer, resolve
from xstilts.errors import ConfigError, IntegrityError, UsageError
from xstilts.evaluate.stats import Measured, Runs, Unit
from xstilts.evaluate.store import ResultStore
from xstilts.grid.answer import (
    Place,
    StudyResults,
    answer_report,
    answered,
    collect_results,
    record,
)
from xstilts.grid.cell import GridCell
from xstilts.grid.spec import StudySpec, load_study
from xstilts.grid.state import GridFolder, PlannedStudy
from xstilts.report.html import write_html
from xstilts.report.plain import write_markdown

LANGUAGES = {"de": "Latn", "fr": "Latn", "ru": "Cyrl", "hi": "Deva"}
ANSWER = {
    "theirs": ["none"],
    "higher": "It raises it",
    "lower": "It lowers it",
    "nothing": "No difference detected",
}


def drawn(rate, generator, seeds=(1, 2, 3), examples=300, difficulty=None):
    """Right and wrong answers of some seeds on the same examples."""
    hard = generator.random(examples) if difficulty is None else difficulty
    made = {}
    for seed in seeds:
        rows = (hard < rate + generator.normal(0, 0.01)).astype(float)[:, None]
        made[seed] = Measured(
            100 * float(rows.mean()),
            lambda rows=rows: rows,
            lambda sums, n: 100 * sums[..., 0] / n,
            "rows",
        )
    return made


def study_results(answer, rates, *, study=None):
    """StudyResults where `rates` says the share of right answers by place and language."""
    generator = np.random.default_rng(0)
    rows = list(dict.fromkeys(place.row for place in rates))
    spec = resolve(
        StudySpec,
        [
            Layer(
                "test",
                {
                    "name": "test",
                    "question": "Does it?",
                    "intermediates": [{"name": row} for row in rows],
                    "targets": ["xnli"],
                    **(study or {}),
                    "answer": {"ours": [r for r in rows if r != "none"], **ANSWER, **answer},
                },
            )
        ],
    ).value
    hard = {code: generator.random(300) for code in LANGUAGES}
    found = {}
    for place, rate in rates.items():
        table = {1: {}, 2: {}, 3: {}}
        for code in LANGUAGES:
            share = rate[code] if isinstance(rate, dict) else rate
            for seed, item in drawn(share, generator, difficulty=hard[code]).items():
                table[seed][Unit("xnli", code, "test")] = item
        found[place] = Runs(place.row, table)
    return StudyResults(spec, found, (), (), (), ())


def places(**rates):
    return {Place("", row): rate for row, rate in rates.items()}


def test_a_planted_effect_is_found_and_a_planted_null_is_not():
    tables = [{"title": "By row", "by": ["row"]}]
    found = answered(
        study_results({"tables": tables}, places(none=0.5, mnli=0.6, qqp=0.5)), draws=500
    )
    # the mean of +10 and 0 points
    assert found.main.verdict.effect == pytest.approx(5, abs=1.5)
    assert found.words == "It raises it"
    lines = found.tables[0][1]
    assert [(line.names, line.verdict.words) for line in lines] == [
        (("mnli",), "higher"),
        (("qqp",), "no difference detected"),
    ]
    assert all(line.verdict.p_holm >= line.verdict.p for line in lines)
    null = answered(study_results({}, places(none=0.5, mnli=0.5)), draws=500)
    assert null.words == "No difference detected"
    assert "would have been seen in four of five" in null.line
    assert (
        answered(study_results({}, places(none=0.5, mnli=0.4)), draws=500).words == "It lowers it"
    )


def test_a_large_effect_is_found_in_a_table_of_many_lines():
    rows = [f"row{number}" for number in range(60)]
    tables = [{"title": "By row", "by": ["row"]}]
    rates = places(none=0.1, **dict.fromkeys(rows, 0.9))
    (_, lines), *_ = answered(study_results({"tables": tables}, rates), draws=2000).tables
    assert len(lines) == 60
    assert {line.verdict.words for line in lines} == {"higher"}


def test_the_means_beside_a_difference_are_those_of_the_seeds_that_it_has():
    made = study_results({}, places(none=0.5, mnli=0.6))
    more = {
        Unit("tatoeba", "de", "test"): item
        for item in drawn(0.2, np.random.default_rng(1)).values()
    }
    runs = {
        place: Runs(
            own.label,
            {seed: {**table, **more} if seed < 3 else table for seed, table in own.table.items()},
        )
        for place, own in made.runs.items()
    }
    main = answered(replace(made, runs=runs), draws=500).main
    assert main.verdict.seeds == (2, 2)
    assert main.ours - main.theirs == pytest.approx(main.verdict.effect)


def test_controls_are_named_in_the_answer():
    tables = [{"title": "T", "by": ["reference"], "theirs": ["shuffled", "qqp", "mlm"]}]
    tables[0]["controls"] = True
    rates = places(none=0.5, senti=0.4, shuffled=0.4, qqp=0.5)
    found = answered(study_results({"ours": ["senti"], "tables": tables}, rates), draws=500)
    assert found.line.startswith("It lowers it: -")
    _, _, beside = found.line.partition(" Beside controls: ")
    same, lower = beside.split("; ")
    assert same.startswith("no difference detected from shuffled (")
    assert lower.startswith("lower than qqp (-")
    limits = record(found, answer_report(found))["limits"]
    assert "These controls have no results: mlm." in limits


def test_a_contrast_sets_groups_of_languages_against_each_other():
    rate = {"de": 0.5, "fr": 0.5, "ru": 0.6, "hi": 0.6}
    contrast = {"by": "latin", "first": "non-Latin", "second": "Latin"}
    tables = [{"title": "By group", "by": ["latin"]}, {"title": "By script", "by": ["script"]}]
    found = answered(
        study_results({"contrast": contrast, "tables": tables}, places(none=0.5, multi=rate)),
        draws=500,
    )
    assert found.main.verdict.effect == pytest.approx(10, abs=2)
    assert found.words == "It raises it"
    assert [line.names[0] for line in found.tables[0][1]] == ["Latin", "non-Latin"]
    assert [line.names[0] for line in found.tables[1][1]] == ["Cyrillic", "Devanagari", "Latin"]
    same = answered(study_results({"contrast": contrast}, places(none=0.5, multi=0.6)), draws=500)
    assert same.words == "No difference detected"


def test_growth_sets_backbones_against_each_other():
    rates = {
        Place("small", "none"): 0.4,
        Place("small", "mnli"): 0.4,
        Place("large", "none"): 0.5,
        Place("large", "mnli"): 0.6,
    }
    tables = [
        {"title": "Gain", "by": ["family", "backbone"]},
        {"title": "Growth", "by": ["family"], "growth": True},
    ]
    study = {"backbones": ["small", "large"]}
    found = answered(
        study_results({"growth": True, "tables": tables}, rates, study=study), draws=500
    )
    assert found.main.verdict.effect == pytest.approx(10, abs=2.5)
    assert found.main.verdict.words == "higher"
    assert [line.names for line in found.tables[0][1]] == [
        ("Indo-European", "small"),
        ("Indo-European", "large"),
    ]
    one = {place: rate for place, rate in rates.items() if place.backbone == "small"}
    lacking = answered(study_results({"growth": True}, one), draws=500)
    assert lacking.main.verdict is None
    assert "two backbones" in lacking.line


def test_a_curve_has_a_line_for_each_snapshot():
    rates = places(none=0.5, sst2=0.6)
    rates |= {Place("", "sst2", step): 0.5 + step / 1000 for step in (0, 50, 100)}
    tables = [{"title": "Curve", "by": ["row", "step"]}]
    found = answered(study_results({"tables": tables}, rates), draws=500)
    lines = found.tables[0][1]
    assert [line.names for line in lines] == [("sst2", "0"), ("sst2", "50"), ("sst2", "100")]
    assert lines[0].verdict.effect == pytest.approx(0, abs=2)
    assert lines[-1].verdict.effect == pytest.approx(10, abs=2)


def test_zero_shot_leaves_out_what_heads_were_trained_on():
    from support.stored import _score

    made = study_results({"zero_shot": True}, places(none=0.5, mnli=0.6))
    row = _score("mnli", 1, "xnli", "de", 300)
    rows = [
        row.model_copy(update={"train_task": "mnli", "source_language": code})
        for code in ("de", "de,fr")
    ]
    made.__dict__["scores"] = tuple(rows)
    assert made.trained_on == {"xnli": {"de"}}
    assert answered(made, draws=500).main.verdict.units == 3


@pytest.mark.long
def test_the_sheet_has_every_part_and_says_what_is_lacking(tmp_path):
    tables = [
        {"title": "By row", "by": ["row"]},
        {"title": "Nothing there", "by": ["row"], "tasks": ["xnli"], "theirs": ["lost"]},
    ]
    rates = places(none=0.5, mnli=0.6)
    study = {"intermediates": [{"name": n} for n in ("none", "mnli", "lost")]}
    answer = answered(
        study_results(
            {"ours": ["mnli", "lost"], "tables": tables, "limits": ["Four languages only."]},
            rates,
            study=study,
        ),
        draws=500,
    )
    page = answer_report(answer, "a warning")
    assert [section.key for section in page.sections] == [
        "verdict",
        "table-1",
        "table-2",
        "settings",
        "limits",
        "missing",
        "provenance",
    ]
    assert "one of the sides has no results" in page.sections[2].absent
    assert [figure.name for figure in page.sections[1].figures] == ["answer-table-1"]
    write_html(page, tmp_path / "answer.html")
    write_markdown(page, tmp_path / "answer.md", "figures")
    text = (tmp_path / "answer.md").read_text()
    assert "![By row](figures/answer-table-1.svg)" in text
    assert "It raises it" in text
    html = (tmp_path / "answer.html").read_text()
    assert "<svg" in html
    assert "Four languages only." in html
    told = record(answer, page)
    assert told["answer"] == "It raises it"
    assert told["verdict"]["words"] == "higher"
    assert told["verdict"]["detectable"] > 0
    assert "The answer is without lost, which have no results." in told["limits"]


def test_rows_are_told_without_the_folders_of_their_tasks(tmp_path):
    rows = [
        {
            "name": "mnli",
            "tasks": f"{tmp_path}/nli_own.yaml,qqp",
            "settings": {"labels": "shuffled"},
        },
        {"name": "both", "compose": "average(mnli, mnli)"},
    ]
    study = {"intermediates": [{"name": "none"}, *rows]}
    found = study_results({}, places(none=0.5, mnli=0.6, both=0.6), study=study)
    page = answer_report(answered(found, draws=500))
    write_markdown(page, tmp_path / "answer.md", "figures")
    text = (tmp_path / "answer.md").read_text()
    assert "mnli: nli_own, qqp, {'labels': 'shuffled'}" in text
    assert "both: average(mnli, mnli)" in text
    assert str(tmp_path) not in text


def test_an_answer_speaks_of_its_own_study_only(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "intermediates: [none, mnli]\ntargets: [xnli]\ndepths: [0.5]\n"
        "answer: {theirs: [nine], tasks: [xnly], depth: 0.7, higher: h, lower: l, nothing: n}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_study(str(path), sandbox=True)
    assert [problem.place for problem in caught.value.problems] == [
        "answer.theirs",
        "answer.tasks",
        "answer.depth",
    ]
    path.write_text("intermediates: [none, mnli]\ntargets: [xnli]\n")
    made = load_study(str(path), sandbox=True)
    with pytest.raises(UsageError, match="does not say how"):
        answered(StudyResults(made, {}, (), (), (), ()))


def test_equal_scores_claim_no_power():
    generator = np.random.default_rng(0)
    made = study_results({}, places(none=0.5, mnli=0.5))
    (item,) = list(drawn(0.5, generator, difficulty=generator.random(300)).values())[:1]
    table = {seed: {Unit("xnli", code, "test"): item for code in LANGUAGES} for seed in (1, 2, 3)}
    same = {place: Runs(place.row, table) for place in made.runs}
    found = answered(replace(made, runs=same), draws=500)
    assert found.line == "Not decided, nothing varies: +0.0 points."
    assert record(found, answer_report(found))["verdict"]["detectable"] is None


def test_what_three_trainings_left_as_it_was_does_not_vary_and_is_no_test_of_a_table():
    tables = [{"title": "By row", "by": ["row"], "ours": ["start", "mnli"]}]
    rates = places(none=0.437, start=0.437, mnli=0.6)
    made = study_results({"ours": ["mnli"], "tables": tables}, rates)
    untrained = {-1: made.runs[Place("", "none")].table[1]}
    runs = {
        **made.runs,
        Place("", "none"): Runs("none", untrained),
        Place("", "start"): Runs("start", dict.fromkeys((1, 2, 3), untrained[-1])),
    }
    found = answered(replace(made, runs=runs), draws=500)
    start, mnli = (line.verdict for line in found.tables[0][1])
    assert (start.claim, start.p_holm) == ("nothing varies", None)
    assert mnli.p_holm == mnli.p


def test_fewer_than_three_seeds_decide_nothing():
    made = study_results({}, places(none=0.5, mnli=0.6))
    few = {
        place: replace(runs, table={seed: runs.table[seed] for seed in (1, 2)})
        for place, runs in made.runs.items()
    }
    found = answered(replace(made, runs=few), draws=500)
    assert found.words == "Not decided, these runs only, not over training"
    assert "would have been seen" not in found.line
    page = answer_report(found)
    assert page.sections[0].tables[0].heads[1] == ("value (these runs only, not over training)")


def test_what_is_missing_stands_in_the_verdicts_line():
    made = study_results({}, places(none=0.5, mnli=0.6))
    lost = GridCell("f" * 64, "train", "qqp/3", "", (), {})
    found = answered(replace(made, lacking=[(lost, "failed")], missing=["lareqa"]), draws=500)
    assert found.line.endswith(" Without qqp/3 (failed), lareqa (no data).")
    assert record(found, answer_report(found))["unfinished"] == ["qqp/3: failed"]


@pytest.mark.parametrize(("unfinished", "code"), [([], 0), (["qqp/3: failed"], 3)])
def test_the_command_exits_3_where_cells_are_missing(monkeypatch, capsys, unfinished, code):
    from xstilts.cli import grid_commands, main

    told = {"question": "Does it?", "line": "It does", "html": "x", "unfinished": unfinished}
    planned = study_results({}, places(none=0.5, mnli=0.5)).study
    monkeypatch.setattr(grid_commands, "_started", lambda *_: (None, planned))
    monkeypatch.setattr(grid_commands, "_write_answer", lambda *_: told)
    with pytest.raises(SystemExit) as caught:
        main(["grid", "answer", "test"])
    output = capsys.readouterr()
    assert (caught.value.code or 0) == code
    assert "It does" in output.out
    assert ("qqp/3: failed" in output.err) == bool(unfinished)


def test_the_command_asks_what_the_file_asks_now_of_what_was_run(tmp_path, monkeypatch):
    from xstilts.cli import grid_commands, main

    study, results = tmp_path / "mine.yaml", tmp_path / "results"
    study.write_text("question: Was it?\nintermediates: [none]\ntargets: [xnli]\n", "utf-8")
    run = load_study(str(study), sandbox=False)
    GridFolder(results).save(PlannedStudy(run.name, run.model_dump(mode="json"), ()))
    asked = []

    def told(state, folder, planned, *_):
        asked.append(planned.spec)
        return {"question": "", "line": "", "html": "", "unfinished": []}

    monkeypatch.setattr(grid_commands, "_write_answer", told)
    study.write_text("question: Is it?\nintermediates: [none, mnli]\ntargets: [xnli]\n", "utf-8")
    command = ["--results", str(results), "grid", "answer", str(study)]
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert not caught.value.code
        study.unlink(missing_ok=True)
    now, gone = asked
    assert (now["question"], gone["question"]) == ("Is it?", "Was it?")
    assert [row["name"] for row in now["intermediates"]] == ["none"]


def test_a_study_that_another_version_planned_has_no_answer(tmp_path):
    spec = study_results({}, places(none=0.5, mnli=0.5)).study.model_dump()
    folder, store = GridFolder(tmp_path), ResultStore(tmp_path)
    planned = PlannedStudy("test", spec, ())
    assert collect_results(planned, folder, store).results == []
    with pytest.raises(IntegrityError, match="the plan of study test is of another") as caught:
        collect_results(replace(planned, spec={**spec, "later": 1}), folder, store)
    assert caught.value.where == str(tmp_path / "grid/studies/test/plan.json")
