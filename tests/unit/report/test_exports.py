"""Exports of the result store, read back by the libraries they are made for."""

from __future__ import annotations

import csv
import json

import pytest

from xstilts.config.load import load_suite
from xstilts.errors import IntegrityError
from xstilts.evaluate.store import ResultStore, Score
from xstilts.report.exports import (
    COLUMNS,
    SCHEMA,
    frame,
    write_csv,
    write_lm_eval,
    write_mteb,
    write_parquet,
    xtreme_record,
)


def put(store, label, task, language, values, seed=1, main="accuracy", **more):
    base = Score(
        expression=label, intermediate=label, digest=f"d-{label}", backbone="base",
        fingerprint="f", task=task, language=language, split="test", metric="", value=0, n=4,
        seed=seed, flags=["bf16", "x"], **more,
    )  # fmt: skip
    rows = [
        base.model_copy(update={"metric": name, "value": value, "main": name == main})
        for name, value in values.items()
    ]
    identity = {"label": label, "task": task, "language": language, "seed": seed, "data": ["abc"]}
    store.put({**identity, "metric": "accuracy"}, rows, "a\n", "tsv", None, 2.5)


@pytest.fixture
def store(tmp_path):
    store = ResultStore(tmp_path / "results")
    put(store, "none", "xnli", "de", {"accuracy": 40.0})
    put(store, "none", "xnli", "qaa", {"accuracy": 45.0})
    put(store, "mnli", "xquad", "zh", {"exact_match": 50.0, "f1": 60.0, "mean": 55.0}, main="mean")
    put(store, "mnli", "mlm", "de", {"perplexity": 7.5, "loss": 2.0}, main="perplexity")
    return store


def test_csv_and_parquet_hold_every_row_and_column(store, tmp_path):
    assert write_csv(store.cells(), tmp_path / "s.csv") == 7
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {(row["task"], row["metric"], row["value"]) for row in rows} >= {
        ("xnli", "accuracy", "40.0"), ("xquad", "f1", "60.0"), ("mlm", "perplexity", "7.5"),
    }  # fmt: skip
    assert {row["flags"] for row in rows} == {"bf16,x"}

    parquet = pytest.importorskip("pyarrow.parquet")
    assert write_parquet(store.cells(), tmp_path / "s.parquet") == 7
    table = parquet.read_table(tmp_path / "s.parquet")
    assert table.schema.metadata[b"xstilts.schema"] == SCHEMA.encode()
    assert table.column_names == list(COLUMNS)
    assert sorted(table["value"].to_pylist()) == sorted(float(row["value"]) for row in rows)


def test_a_frame_answers_questions(store):
    table = frame(store.cells())
    means = table[table.main].groupby(["intermediate", "task"]).value.mean()
    assert means["none", "xnli"] == pytest.approx(42.5)
    assert (table.seconds == 2.5).all() and (table.written != "").all()


def test_mteb_files_have_its_keys(store, tmp_path):
    assert write_mteb(store.cells(), tmp_path / "mteb") == 2  # no perplexity
    record = json.loads((tmp_path / "mteb/none__base/d-none/xnli.json").read_text())
    assert record["task_name"] == "xnli" and record["evaluation_time"] == 5.0
    entries = {entry["hf_subset"]: entry for entry in record["scores"]["test"]}
    assert entries["de"]["main_score"] == 0.4 and entries["de"]["languages"] == ["deu-Latn"]
    assert entries["qaa"]["languages"] == ["qaa-Latn"]
    meta = json.loads((tmp_path / "mteb/none__base/d-none/model_meta.json").read_text())
    assert meta["name"] == "none on base"


def test_lm_eval_files_have_its_keys(store, tmp_path):
    put(store, "none", "xnli", "de", {"accuracy": 60.0}, seed=2)
    assert write_lm_eval(store.cells(), tmp_path / "lm_eval") == 2  # no perplexity
    (path,) = (tmp_path / "lm_eval/none__base").glob("results_*.json")
    record = json.loads(path.read_text())
    # Every part has an entry for each task, as the harness' own table of results asks for.
    parts = ("results", "configs", "versions", "n-shot", "higher_is_better", "n-samples")
    assert {tuple(sorted(record[part])) for part in parts} == {("xnli_de", "xnli_qaa")}
    assert record["results"]["xnli_de"] == {
        "alias": "xnli_de", "accuracy,none": 0.6, "accuracy_stderr,none": "N/A",
    }  # fmt: skip
    assert record["n-samples"]["xnli_de"] == {"original": 4, "effective": 4}
    assert record["model_name"] == "none on base"
    (path,) = (tmp_path / "lm_eval/mnli__base").glob("results_*.json")
    zh = json.loads(path.read_text())["results"]["xquad_zh"]
    assert (zh["mean,none"], zh["f1,none"], zh["exact_match,none"]) == (0.55, 0.6, 0.5)


def test_lm_eval_files_hold_the_standard_error_over_examples(tmp_path):
    store = ResultStore(tmp_path / "results")
    base = Score(
        expression="none", intermediate="none", digest="", backbone="base", fingerprint="f",
        task="xnli", language="de", split="test", metric="accuracy", value=75.0, n=8,
    )  # fmt: skip
    store.put({"metric": "accuracy", "data": ["abc"]}, [base], "a\n", "tsv", [1, 1, 1, 0] * 2, 1.0)
    write_lm_eval(store.cells(), tmp_path / "lm_eval")
    (path,) = (tmp_path / "lm_eval/none__base").glob("results_*.json")
    # sqrt(0.75 * 0.25 / (8 - 1)), the standard error of a mean of eight
    found = json.loads(path.read_text())["results"]["xnli_de"]["accuracy_stderr,none"]
    assert found == pytest.approx(0.163663, abs=1e-6)


def test_xtreme_keys_and_means_over_seeds(store):
    put(store, "none", "xnli", "de", {"accuracy": 60.0}, seed=2)
    record = xtreme_record(store.scores(), load_suite("xtreme"))
    assert record["none"]["xnli"]["accuracy"]["de"] == 50.0
    assert "avg_metric" not in record["none"]["xnli"]  # thirteen languages are missing
    assert record["mnli"]["xquad"]["f1"] == {"zh": 60.0} and "mlm" not in record["mnli"]


def test_cells_of_a_newer_version_are_refused(store):
    path = next(store.root.glob("cells/*/*/cell.json"))
    record = json.loads(path.read_text())
    del record["sha256"]  # cells of then had none
    path.write_text(json.dumps({**record, "schema": 1}))
    assert len(store.scores()) == 7  # what is older is read
    path.write_text(json.dumps({**record, "schema": 99}))
    with pytest.raises(IntegrityError, match="schema 99"):
        store.scores()


def test_what_is_wrong_with_a_broken_cell_is_said_in_plain_words(store, capsys):
    path = next(store.root.glob("cells/*/*/cell.json"))
    record = json.loads(path.read_text())
    record["scores"][0]["value"] = "many"
    path.write_text(json.dumps(record))
    assert len(store.scores()) == 6
    said = capsys.readouterr().err
    assert "scores.0.value: input should be a valid number" in said
    assert "http" not in said
