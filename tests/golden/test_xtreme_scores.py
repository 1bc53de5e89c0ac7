"""Averages against published rows and hand arithmetic; folders in the official layout."""

from __future__ import annotations

import json

import pytest

from xstilts.cli import main
from xstilts.config.load import load_suite, load_task
from xstilts.errors import NotFoundError, UsageError
from xstilts.evaluate.store import ResultStore, Score
from xstilts.evaluate.submission import write_submission
from xstilts.evaluate.xtreme import summarise, task_score, transfer_gap, transfer_gaps

XTREME = load_suite("xtreme")
_CODES = ("en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
_VALUES = (88.7, 77.2, 83.0, 82.5, 80.8, 83.7, 82.2, 75.6, 79.1, 71.2, 77.4, 78, 71.7, 79.3, 78.2)
XNLI = dict(zip(_CODES, _VALUES, strict=True))
MEANS = {
    "xnli": {"accuracy": 79.2},
    "pawsx": {"accuracy": 86.4},
    "udpos": {"f1": 72.6},
    "panx": {"f1": 65.4},
    "xquad": {"f1": 76.6, "exact_match": 60.8},
    "mlqa": {"f1": 71.6, "exact_match": 53.2},
    "tydiqa": {"f1": 65.1, "exact_match": 45.0},
    "bucc2018": {"f1": 66.0},
    "tatoeba": {"accuracy": 57.3},
}
"""XLM-R large in the XTREME paper."""


def everywhere(suite, means):
    return {task: dict.fromkeys(suite.tasks[task], means[task]) for task in suite.tasks}


def test_the_published_overall_is_the_mean_of_nine_tasks():
    summary = summarise(everywhere(XTREME, MEANS), XTREME)
    # (79.2 + 86.4 + 72.6 + 65.4 + 68.7 + 62.4 + 55.05 + 66.0 + 57.3) / 9
    assert summary.overall == pytest.approx(613.05 / 9)
    assert f"{summary.overall:.1f}" == "68.1"
    assert summary.tasks["xquad"] == pytest.approx(68.7)
    assert summary.groups == pytest.approx(
        {
            "classification": 82.8,
            "tagging": 69.0,
            "qa": (68.7 + 62.4 + 55.05) / 3,
            "retrieval": (66.0 + 57.3) / 2,
        }
    )
    assert summary.missing == ()


def test_a_published_row_gives_the_published_mean():
    scores = {code: {"accuracy": value} for code, value in XNLI.items()}
    assert f"{task_score('xnli', scores):.1f}" == "79.2"


def test_the_transfer_gap_leaves_the_source_out():
    # 88.7 - 78.564…
    assert f"{transfer_gap(XNLI):.1f}" == "10.1"
    assert transfer_gap({"en": 90.0, "de": 80.0, "sw": 60.0}) == 20.0
    with pytest.raises(NotFoundError, match="no transfer gap"):
        transfer_gap({"de": 1.0, "sw": 2.0})


def test_gaps_are_of_exact_match_and_not_of_retrieval():
    suite = load_suite("xtreme-r")
    means = {**MEANS, "xcopa": {"accuracy": 50.0}, "mewslix": {"map": 40.0}}
    scores = everywhere(suite, {**means, "lareqa": {"map": 40.0}})
    scores["xquad"] = {**scores["xquad"], "en": {"f1": 90.0, "exact_match": 71.8}}
    gaps = transfer_gaps(scores, summarise(scores, suite))
    # 71.8 - 60.8; XCOPA, Tatoeba have no English, Mewsli-X and LAReQA are retrieval
    assert gaps["xquad"] == ("exact_match", pytest.approx(11.0))
    assert set(gaps) == {"xnli", "udpos", "panx", "xquad", "mlqa", "tydiqa"}


def test_nothing_is_averaged_over_what_is_missing():
    scores = everywhere(XTREME, MEANS)
    del scores["xnli"]["sw"]
    del scores["mlqa"]
    summary = summarise(scores, XTREME)
    assert summary.overall is None
    assert summary.missing == ("xnli/sw", "mlqa")
    assert "xnli" not in summary.tasks
    assert set(summary.groups) == {"tagging", "retrieval"}


def test_xtreme_r_can_be_complete():
    suite = load_suite("xtreme-r")
    counts = {task: len(codes) for task, codes in suite.tasks.items()}
    assert counts == {
        "xnli": 15,
        "xcopa": 11,
        "udpos": 38,
        "panx": 48,
        "xquad": 12,
        "mlqa": 7,
        "tydiqa": 9,
        "tatoeba": 41,
        "mewslix": 11,
        "lareqa": 11,
    }
    means = MEANS | {task: {"accuracy": 50.0, "map": 40.0} for task in ("xcopa",)}
    means |= {task: {"map": 40.0} for task in ("mewslix", "lareqa")}
    summary = summarise(everywhere(suite, means), suite)
    assert summary.groups["multi_choice"] == 50.0
    assert summary.groups["retrieval"] == pytest.approx((57.3 + 40.0) / 2)
    assert summary.overall is not None


def test_suites_name_languages_that_tasks_have():
    for name in ("xtreme", "xtreme-r"):
        suite = load_suite(name)
        for task, codes in suite.tasks.items():
            assert len(set(codes)) == len(codes)
            if name == "xtreme":
                assert sorted(codes) == sorted(load_task(task).languages), task


# -- folders


def write(folder, task, language, text, suffix="tsv"):
    (folder / task).mkdir(parents=True, exist_ok=True)
    (folder / task / f"test-{language}.{suffix}").write_text(text, encoding="utf-8")


@pytest.fixture
def folders(tmp_path):
    predictions, labels = tmp_path / "predictions", tmp_path / "labels"
    for number, code in enumerate(XTREME.tasks["pawsx"]):
        write(labels, "pawsx", code, "1\n0\n1\n1\n")
        # of 7 languages the first has 4 right, the others 3
        write(predictions, "pawsx", code, "1\n0\n1\n1\n" if number == 0 else "1\n0\n1\n0\n")
    for code in XTREME.tasks["bucc2018"]:
        write(labels, "bucc2018", code, f"{code}-1\ten-1\n{code}-2\ten-2\n")
        write(predictions, "bucc2018", code, f"{code}-1\ten-1\n")
    return predictions, labels


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["--json", "score", *map(str, arguments)])
    output = capsys.readouterr()
    return caught.value.code or 0, output


def test_a_folder_is_scored_with_the_official_keys(folders, tmp_path, capsys):
    code, output = run(capsys, *folders, "--output", tmp_path / "out.json")
    record = json.loads(output.out)
    assert code == 0, output.err
    assert json.loads((tmp_path / "out.json").read_text()) == record
    # neither an overall nor a group is whole
    assert set(record) == {"pawsx", "bucc2018"}
    assert record["pawsx"]["accuracy"]["de"] == 100.0
    assert record["pawsx"]["avg_accuracy"] == pytest.approx((100 + 6 * 75) / 7)
    assert record["pawsx"]["avg_metric"] == record["pawsx"]["avg_accuracy"]
    # P 1, R 1/2
    assert record["bucc2018"]["f1"]["zh"] == pytest.approx(200 / 3)
    assert record["bucc2018"]["avg_precision"] == 100.0
    assert record["bucc2018"]["avg_metric"] == pytest.approx(200 / 3)


def test_ranked_retrieval_has_the_official_name(tmp_path, capsys):
    # ar: gold at rank 2, so 1/2; the others: gold first. A missing id scores 0: (1 + 0) / 2.
    suite = load_suite("xtreme-r")
    for side in ("p", "l"):
        (tmp_path / side / "mewslix").mkdir(parents=True)
    for code in suite.tasks["mewslix"]:
        (tmp_path / f"l/mewslix/test-{code}.json").write_text('{"a": ["Q1 "], "b": ["Q2"]}')
        ranked = '["Q9", "Q1"], "b": ["Q2"]' if code == "ar" else '["Q1"]'
        (tmp_path / f"p/mewslix/test-{code}.json").write_text(f'{{"a": {ranked}}}')
    status, output = run(capsys, tmp_path / "p", tmp_path / "l", "--suite", "xtreme-r")
    entry = json.loads(output.out)["mewslix"]
    assert status == 0
    assert entry["map@20"] == {**dict.fromkeys(suite.tasks["mewslix"], 50.0), "ar": 75.0}
    assert entry["avg_map@20"] == entry["avg_metric"] == pytest.approx((10 * 50 + 75) / 11)
    assert set(entry) == {"map@20", "avg_map@20", "avg_metric"}


def test_a_missing_language_is_named_and_has_no_mean(folders, capsys):
    predictions, _ = folders
    (predictions / "pawsx" / "test-ko.tsv").unlink()
    code, output = run(capsys, *folders)
    assert code == 3
    assert "test-ko.tsv" in output.err
    record = json.loads(output.out)
    assert "avg_metric" not in record["pawsx"]
    assert record["pawsx"]["accuracy"]["de"] == 100.0
    assert record["bucc2018"]["avg_metric"] == pytest.approx(200 / 3)


def test_folders_without_a_common_task_are_refused(folders, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    code, output = run(capsys, empty, folders[1])
    assert code == 4
    assert "share no task folder" in output.err
    code, output = run(capsys, tmp_path / "nowhere", folders[1])
    assert code == 4


# -- submissions


def cell(store, task, language, text, label="mnli", suffix="tsv"):
    score = Score(
        expression="@x",
        intermediate=label,
        digest="d",
        backbone="b",
        fingerprint="f",
        task=task,
        language=language,
        split="test",
        metric="accuracy",
        value=1.0,
        n=1,
    )
    identity = {"task": task, "language": language, "label": label}
    return store.put(identity, [score], text, suffix, [1], 0.1)


def test_a_submission_has_the_official_layout_and_scores_the_same(folders, tmp_path, capsys):
    predictions, labels = folders
    store = ResultStore(tmp_path / "results")
    cells = [
        cell(store, path.parent.name, path.stem.removeprefix("test-"), path.read_text())
        for path in sorted(predictions.rglob("*.tsv"))
    ]
    written = write_submission(cells, tmp_path / "submission")
    assert len(written["mnli"]) == 11
    first = json.loads(run(capsys, predictions, labels)[1].out)
    assert json.loads(run(capsys, tmp_path / "submission", labels)[1].out) == first
    with pytest.raises(UsageError, match="not empty"):
        write_submission(cells, tmp_path / "submission")
    twice = [cells[0], cell(store, "bucc2018", "de", "other", "mnli", "tsv"), cells[0]]
    with pytest.raises(UsageError, match="two results"):
        write_submission(twice, tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


def test_expressions_have_a_folder_each(tmp_path):
    store = ResultStore(tmp_path / "results")
    labels = ("none", "stack(lang-{lang}, mnli)")
    cells = [cell(store, "xnli", "de", "neutral\n", label) for label in labels]
    write_submission(cells, tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.tsv")}
    assert found == {"none/xnli/test-de.tsv", "stack-lang--lang---mnli/xnli/test-de.tsv"}
