"""docs/results: every table is what its csv files give, and the arithmetic of that by hand."""

from __future__ import annotations

import re
from collections import defaultdict
from statistics import mean

import pytest
from real_backbone import build, results
from support.files import SHARED, needs_shared

from xstilts.config.load import load_task, short_name, spec_names, tasks_of
from xstilts.data.sources import available_languages, load
from xstilts.grid.spec import load_study

STUDY = results.study_of(results.CORE)
KEPT = sorted(path.stem for path in results.DOCS.glob("*.csv") if "-cells" not in path.stem)
"""Studies with csv files."""
RANKED = sorted(path.stem for path in results.RANKS.glob("*.csv"))
"""Targets for which modules were ranked."""
SEARCHED = sorted(path.stem for path in results.SEARCHES.glob("*.csv"))
"""Targets for which weights were searched."""


def score(row, task, language, value, seed="-1", layer="-1", backbone="whole"):
    keys = ("intermediate", "task", "language", "value", "seed", "layer", "backbone")
    return dict(zip(keys, (row, task, language, str(value), seed, layer, backbone), strict=True))


@pytest.mark.parametrize("page", results.PAGES, ids=["results", "front"])
def test_the_tables_of_a_page_are_those_of_the_csv_files(page):
    text = page.read_text(encoding="utf-8")
    assert results.filled(text, results.DOCS) == text
    named = set(re.findall(r"<!-- table: (\w+ [\w-]+) -->", text))
    whole = {f"{table} {study}" for table in results.TABLES for study in KEPT}
    whole |= {f"rank {target}" for target in RANKED}
    whole |= {f"search {target}" for target in SEARCHED}
    assert named == ({f"means {results.ROWS}"} if page == results.PAGES[1] else whole)


NUMBER = r"[+−-]?\d+(?:\.\d+)?"
CLAIM = re.compile(
    rf"(?:(?<![\w.-])({NUMBER})(?: points?)?(?: there)? )?"  # a difference
    rf"\[({NUMBER}), ({NUMBER})\]"  # its interval
    r"(?:,? (?:Holm )?p (?P<prose>(?:< )?\d\.\d+)| \| [^|]+ \| (?P<cell>\d\.\d+))?"
)


def claims(text):
    """(difference, low, high, p) wherever an interval stands; None for what is not beside it."""
    for found in CLAIM.finditer(" ".join(text.split())):
        numbers = [each and float(each.replace("−", "-")) for each in found.groups()[:3]]
        yield (*numbers, found["prose"] or found["cell"])


def turned(claim):
    """What the other side loses: [-23.0, -6.5] is [6.5, 23.0] lower."""
    difference, low, high, p = claim
    return (None if difference is None else -difference, -high, -low, p)


def says(found, claim):
    """Whether an answer's line has what a sentence says of it."""
    return found[1:3] == claim[1:3] and all(
        said is None or said == own for own, said in zip(found, claim, strict=True)
    )


@pytest.mark.parametrize("page", results.PAGES, ids=["results", "front"])
def test_every_interval_in_the_text_of_a_page_stands_in_an_answer(page):
    answers = [
        claim
        for path in results.DOCS.glob("*/answer.md")
        for claim in claims(path.read_text(encoding="utf-8"))
    ]
    said = list(claims(page.read_text(encoding="utf-8")))
    assert len(said) >= 5
    assert [
        claim
        for claim in said
        if not any(says(found, each) for found in answers for each in (claim, turned(claim)))
    ] == []


def test_a_sentence_that_says_more_than_the_answer_is_found():
    line = "| mnli | 56.1 | 72.9 | −16.8 [−28.0, −4.7] | no difference detected | 0.234 | 16.7 |"
    (answer,) = claims(line)
    assert answer == (-16.8, -28.0, -4.7, "0.234")
    for sentence, right in (
        ("-16.8 points [-28.0, -4.7]", True),
        ("lower by 16.8 [4.7,\n28.0], Holm p 0.234", True),
        ("in SIB-200 [-28.0, -4.7]", True),
        ("-16.9 [-28.0, -4.7]", False),
        ("-16.8 [-28.0, -4.6]", False),
        ("+16.8 [-28.0, -4.7]", False),
        ("-16.8 [-28.0, -4.7], Holm p 0.024", False),
    ):
        (claim,) = claims(sentence)
        assert (says(answer, claim) or says(answer, turned(claim))) is right, sentence


@pytest.mark.parametrize("name", KEPT)
def test_every_score_of_the_csv_is_of_the_study_and_stands_once(name):
    rows, study = results.read_csv(results.DOCS / f"{name}.csv"), results.study_of(name)
    snapshot = re.compile(r"-step\d+$") if study.curve else re.compile("$")
    named = {snapshot.sub("", row["intermediate"]) for row in rows}
    assert named == {row.name for row in study.intermediates}
    assert {row["task"] for row in rows} == set(results.columns_of(study))
    keys = [
        tuple(row[key] for key in ("backbone", "intermediate", "task", "language", "layer", "seed"))
        for row in rows
    ]
    assert len(keys) == len(set(keys))
    whole, *cuts = sorted({(row["backbone"], row["fingerprint"]) for row in rows})
    assert whole == (build.NAME, build.FINGERPRINT)
    assert [name for name, _ in cuts] in ([], [f"{build.NAME}-6", f"{build.NAME}-9"])
    assert all(len(row["predictions_sha256"]) == 64 for row in rows)


def test_what_two_studies_computed_on_two_processors_is_the_same_but_for_single_sentences():
    shared = defaultdict(dict)
    for study in (results.CORE, "families-by-size-mini"):
        for row in results.read_csv(results.DOCS / f"{study}.csv"):
            place = ("fingerprint", "intermediate", "task", "language", "layer", "seed")
            shared[tuple(row[key] for key in place)][study] = row
    pairs = [tuple(found.values()) for found in shared.values() if len(found) == 2]
    apart = [abs(float(a["value"]) - float(b["value"])) * int(a["n"]) / 100 for a, b in pairs]
    assert len(pairs) == 336
    assert sorted(apart)[-3:] == [0, pytest.approx(1), pytest.approx(1)]


def test_a_mean_is_over_languages_and_waits_for_all_of_them():
    rows = [
        score("none", "xcopa", "sw", 50, "1"),
        score("none", "xcopa", "zh", 60, "1"),
        score("none", "xcopa", "sw", 70, "2"),  # zh of seed 2 is still to come
        score("mnli", "xcopa", "sw", 58, "1"),
        score("mnli", "xcopa", "zh", 62, "1"),
    ]
    assert results.task_means(rows) == {
        ("none", "xcopa"): {"1": 55.0},
        ("mnli", "xcopa"): {"1": 60.0},
    }
    table = results.table_of_differences(rows, [], STUDY)
    line = next(text for text in table.split("\n") if text.startswith("| mnli |"))
    assert line.split(" | ")[1 + STUDY.targets.index("xcopa")] == "+5.0"


def test_retrieval_counts_at_the_deepest_block_and_none_goes_with_every_seed():
    rows = [
        score("none", "tatoeba_mini", "sw", 80, "-1", "12"),
        score("none", "tatoeba_mini", "sw", 10, "-1", "7"),
        score("mnli", "tatoeba_mini", "sw", 70, "1", "12"),
        score("mnli", "tatoeba_mini", "sw", 72, "2", "12"),
    ]
    lines = results.table_of_means(rows, [], STUDY).split("\n")
    assert next(line for line in lines if line.startswith("| none |")).startswith("| none | 80.0 |")
    assert next(line for line in lines if line.startswith("| mnli |")).startswith(
        "| mnli | 71.0 (2) |"
    )
    # (70 - 80 + 72 - 80) / 2
    assert "| mnli | -9.0 |" in results.table_of_differences(rows, [], STUDY)


def test_several_backbones_have_rows_of_their_own_each_at_its_deepest_block():
    rows = [
        score("none", "tatoeba_mini", "sw", 80, "-1", "12"),
        score("mnli", "tatoeba_mini", "sw", 70, "1", "12"),
        score("none", "tatoeba_mini", "sw", 60, "-1", "6", "cut"),
        score("mnli", "tatoeba_mini", "sw", 61, "1", "6", "cut"),
        score("mnli", "tatoeba_mini", "sw", 10, "1", "3", "cut"),
    ]
    means = results.table_of_means(rows, [], STUDY)
    assert "| cut, none | 60.0 |" in means
    assert "| cut, mnli | 61.0 (1) |" in means
    assert "| whole, mnli | 70.0 (1) |" in means
    differences = results.table_of_differences(rows, [], STUDY)
    assert "| cut, mnli | +1.0 |" in differences
    assert "| whole, mnli | -10.0 |" in differences


def test_hours_are_those_of_finished_cells():
    cells = [
        {"kind": "train", "status": "done", "seconds": "1800"},
        {"kind": "train", "status": "done", "seconds": "5400"},
        {"kind": "train", "status": "waiting", "seconds": ""},
    ]
    table = results.table_of_work([], cells, STUDY)
    assert "| train | 3 | 2 | 2.00 |" in table
    assert "| evaluate | 0 | 0 | 0.00 |" in table


@pytest.mark.parametrize("name", sorted(results.TABLES))
def test_a_table_without_scores_has_its_rows_all_the_same(name):
    table = results.TABLES[name]([], [], STUDY)
    assert table.count("\n") >= 3


@pytest.mark.parametrize("target", RANKED)
def test_what_a_ranked_module_was_measured_to_bring_is_what_the_studies_have(target):
    measured = defaultdict(lambda: defaultdict(dict))
    for name in KEPT:
        study = results.study_of(name)
        steps = str(study.intermediate.train["max_steps"])
        trained = {
            row.name: results.trained_on(list(map(short_name, tasks_of(row.tasks or row.name))))
            for row in study.intermediates
        }
        for row in results.read_csv(results.DOCS / f"{name}.csv"):
            if (row["task"], row["backbone"]) == (target, build.NAME):
                module = (row["intermediate"], trained[row["intermediate"]], steps)
                measured[module][row["language"]][row["cell"]] = float(row["value"])
    for row in results.read_csv(results.RANKS / f"{target}.csv"):
        languages = measured[row["module"], row["trained on"], row["steps"]].values()
        assert float(row["measured"]) == pytest.approx(mean(mean(c.values()) for c in languages))


def test_a_ranking_is_shown_with_the_place_of_what_was_measured():
    same = {"trained on": "mnli", "steps": "9", **dict.fromkeys(results.METHODS, "")}
    rows = [
        {**same, "module": name, "probe": "0.25", "mean rank": str(at), "measured": value}
        for at, (name, value) in enumerate(
            (("a", "50.04"), ("b", "61"), ("c", "50.04"), ("d", "")), 1
        )
    ]
    lines = results.table_of_rank(rows).split("\n")[2:]
    ends = [line.split(" | ", 5)[-1] for line in lines]
    assert ends == [
        "0.2500 | · | 1.0 | 50.0 | 2 |",
        "0.2500 | · | 2.0 | 61.0 | 1 |",
        "0.2500 | · | 3.0 | 50.0 | 2 |",
        "0.2500 | · | 4.0 | · | · |",
    ]


@pytest.mark.parametrize("target", SEARCHED)
def test_a_searched_head_is_that_of_the_row_without_modules(target):
    alone = {
        (row["seed"], row["language"]): float(row["value"])
        for row in results.read_csv(results.DOCS / "compositions-mini.csv")
        if (row["task"], row["intermediate"]) == (target, "none")
    }
    rows = results.read_csv(results.SEARCHES / f"{target}.csv")
    found = {(row["seed"], row["language"]): float(row["head's own"]) for row in rows}
    assert found == alone
    assert len(found) == len(rows)
    assert all(float(row["loss"]) <= float(row["start loss"]) for row in rows)


def test_a_search_is_shown_by_seed_with_means_over_languages():
    same = {"weights": "head + mnli*0.3", "start loss": "0.7512", "loss": "0.6948"}
    rows = [
        {**same, "seed": seed, "language": code, "value": value, "head's own": own}
        for seed, code, value, own in (
            ("2", "sw", "50", "51"),
            ("1", "sw", "60", "50"),
            ("1", "zh", "61", "52"),
        )
    ]
    assert results.table_of_search(rows).split("\n")[2:] == [
        "| 1 | `head + mnli*0.3` | 0.751 | 0.695 | 60.5 | 51.0 | +9.5 |",
        "| 2 | `head + mnli*0.3` | 0.751 | 0.695 | 50.0 | 51.0 | -1.0 |",
    ]


OWN = (results.CORE, "commonsense-mini", "compositions-mini", "qa-mini", "xquad-mini")
"""Studies of this encoder only; the others are cuts of those that come with xstilts."""
MORE = sorted((results.DOCS / "studies").glob("*.yaml"))


@pytest.mark.long
@needs_shared
@pytest.mark.parametrize("path", MORE, ids=lambda path: path.stem)
def test_a_study_of_the_real_encoder_reads_and_has_its_data(path):
    study = load_study(str(path), sandbox=False)
    assert path.stem in OWN or study.name.removesuffix("-mini") in spec_names("studies")
    for name in (*study.targets, *study.alignment):
        task = load_task(name)
        assert available_languages(task, task.eval_split, SHARED), name
        assert not task.train_task or rows_to_train_on(task.train_task) >= 100
    for row in study.intermediates:
        if row.name != "none" and not row.compose:
            source = row.settings.get("source", {})
            for name in tasks_of(row.tasks or row.name):
                found = rows_to_train_on(name, *source.get("languages", [])[:1])
                assert found >= max(int(source.get("rows", 0)), 100), row.name


def rows_to_train_on(name, language=""):
    task = load_task(name)
    return len(load(task, "train", language or task.source_language, SHARED, offline=True))
