"""Local copies of hub data sets: which files hold a split, and rows as they stand in them."""

from __future__ import annotations

import bz2
import gzip
import os
import tarfile

import pyarrow
import pyarrow.parquet
import pytest
from support.files import write

from xstilts.config.specs import TaskSpec
from xstilts.data.bundle import bundle
from xstilts.data.layout import expand
from xstilts.data.located import available_languages, locate
from xstilts.data.sources import load
from xstilts.errors import DataError, OfflineError

HEADER = "sentence1,sentence2,label\n"


def task_of(config: str = "", languages=("en",), **source) -> TaskSpec:
    hub = {
        "repo": "me/pairs",
        "revision": "0" * 40,
        "config": config,
        "splits": {"train": "train", "test": "test", "validation": "validation"},
    }
    columns = {"text": "sentence1", "text_pair": "sentence2", "target": "label"}
    entry = {"reader": "hub", "hub": hub, "columns": columns, **source}
    return TaskSpec(
        name="pairs",
        format="classification",
        languages=list(languages),
        labels=["0", "1"],
        metric="accuracy",
        sources=[entry],
    )


def rows(root, task=None, split="test", language="en"):
    found = load(task or task_of(), split, language, root, offline=True)
    return [(row.fields["text"], row.fields["text_pair"], row.target) for row in found]


def copy(root, files: dict[str, str]):
    return write(root, {f"me/pairs/{name}": text for name, text in files.items()})


def test_a_quote_at_the_start_of_a_tsv_field_swallows_no_rows(tmp_path):
    text = (
        "sentence1\tsentence2\tlabel\n"
        '"A man, he said\tA man spoke\t1\n'
        "The dog runs\tA dog runs\t1\n"
        'Nobody came" , she said\tSomebody came\t0\n'
    )
    copy(tmp_path, {"test.tsv": text})
    assert rows(tmp_path) == [
        ('"A man, he said', "A man spoke", "1"),
        ("The dog runs", "A dog runs", "1"),
        ('Nobody came" , she said', "Somebody came", "0"),
    ]


def test_an_open_quote_in_a_csv_file_is_an_error(tmp_path):
    copy(tmp_path, {"test.csv": f'{HEADER}"A man,he said,1\nThe dog,A dog,1\n'})
    with pytest.raises(DataError, match="not valid CSV") as caught:
        rows(tmp_path)
    assert "me/pairs/test.csv" in caught.value.where


def test_texts_are_what_stands_in_the_file(tmp_path):
    copy(tmp_path, {"test.csv": f"{HEADER}NA,None,0\nnull,nan,1\n007,1e5,0\n1e3,0012,1\n"})
    assert rows(tmp_path) == [
        ("NA", "None", "0"), ("null", "nan", "1"), ("007", "1e5", "0"), ("1e3", "0012", "1"),
    ]  # fmt: skip
    (tmp_path / "me/pairs/test.csv").unlink()
    line = '{"sentence1": "2020-01-01", "sentence2": "a day", "label": "0"}\n'
    copy(tmp_path, {"test.jsonl": line})
    assert rows(tmp_path) == [("2020-01-01", "a day", "0")]


def test_a_bad_row_is_named_by_its_file_and_row(tmp_path):
    copy(tmp_path, {"test.csv": f"{HEADER}a,b,0\nc,d,7\n"})
    with pytest.raises(DataError, match="label '7'") as caught:
        rows(tmp_path)
    assert caught.value.where == f"{tmp_path}/me/pairs/test.csv:3"


CARD = """---
configs:
- config_name: de
  data_files:
  - {split: train, path: "de/train-*"}
  - {split: test, path: ["de/test-0.csv", "de/test-1.csv"]}
- config_name: fr
  default: true
  data_files: {test: "fr/test.csv"}
---
# Pairs
"""


def test_a_partial_copy_with_its_card_is_read_as_far_as_it_is_there(tmp_path):
    copy(tmp_path, {"README.md": CARD, "de/test-1.csv": f"{HEADER}a,b,0\n"})
    task = task_of("{language}", ["de", "fr"])
    assert rows(tmp_path, task, language="de") == [("a", "b", "0")]
    assert available_languages(task, "test", tmp_path) == ["de"]
    assert locate(task, "train", "de", tmp_path).remote
    with pytest.raises(OfflineError) as caught:
        load(task, "train", "de", tmp_path, offline=True)
    assert str(tmp_path / "me/pairs") in caught.value.where
    copy(tmp_path, {"fr/test.csv": f"{HEADER}c,d,1\n"})
    assert rows(tmp_path, task_of(), language="en") == [("c", "d", "1")]


def test_files_of_a_split_are_told_by_names_where_no_card_tells(tmp_path):
    def text(letter):
        return f"{HEADER}{letter},{letter},0\n"

    copy(
        tmp_path,
        {
            "de/test-00000-of-00002.csv": text("a"),
            "de/test-00001-of-00002.csv": text("b"),
            "de/dev.csv": text("c"),
            "fr/test/0000.csv": text("d"),
            "fr/my_test_rows/0.csv": text("e"),
            "fr/training.csv": text("f"),
        },
    )
    task = task_of("{language}", ["de", "fr", "ja"])
    assert [row[0] for row in rows(tmp_path, task, language="de")] == ["a", "b"]
    assert [row.id for row in load(task, "test", "de", tmp_path, offline=True)] == ["1", "2"]
    assert [row[0] for row in rows(tmp_path, task, "validation", "de")] == ["c"]
    assert [row[0] for row in rows(tmp_path, task, "test", "fr")] == ["d"]
    assert [row[0] for row in rows(tmp_path, task, "train", "fr")] == ["f"]
    assert locate(task, "test", "ja", tmp_path).remote


@pytest.mark.parametrize("card", ["", "---\nconfigs:\n- data_files: {test: '*.csv'}\n---\n"])
@pytest.mark.parametrize("number", [0, 2])
def test_some_files_of_a_split_are_not_taken_for_all(number, card, tmp_path):
    text = HEADER + "a,b,1\n"
    files = {f"test-0000{n}-of-00003.csv": text for n in range(3) if n != number}
    copy(tmp_path, {**files, **({"README.md": card} if card else {})})
    with pytest.raises(DataError, match="1 of the 3 files of split 'test' are missing") as caught:
        rows(tmp_path)
    assert caught.value.where.endswith(f"test-0000{number}-of-00003")
    copy(tmp_path, {f"test-0000{number}-of-00003.csv": text})
    assert len(rows(tmp_path)) == 3


@pytest.mark.parametrize("kind", [",", "\t"])
def test_a_column_that_stands_twice_is_refused(kind, tmp_path):
    text = "label,sentence1,sentence2,label\n1,a,b,0\n".replace(",", kind)
    copy(tmp_path, {"test.csv" if kind == "," else "test.tsv": text})
    with pytest.raises(DataError, match="the header has 2 columns 'label'"):
        rows(tmp_path)


def parquet(root, columns, names=None):
    """A parquet file of the test split; returns its path."""
    table = pyarrow.Table.from_arrays(list(columns), names=names)
    path = write(root, {"me/pairs/test.parquet": ""}) / "me/pairs/test.parquet"
    pyarrow.parquet.write_table(table, path, compression="none", use_dictionary=False)
    return path


PAIR = ["sentence1", "sentence2", "label"]


def test_a_column_that_stands_twice_in_parquet_is_refused(tmp_path):
    texts = pyarrow.array(["a"]), pyarrow.array(["b"])
    parquet(
        tmp_path, [*texts, pyarrow.array(["other"]), pyarrow.array([0])], [*PAIR[:2], *PAIR[1:]]
    )
    with pytest.raises(DataError, match="the header has 2 columns 'sentence2'"):
        rows(tmp_path)


def test_a_text_of_parquet_that_is_not_utf_8_is_refused(tmp_path):
    first = pyarrow.array([f"row{number:03}" for number in range(50)])
    path = parquet(tmp_path, [first, first, pyarrow.array([0] * 50)], PAIR)
    assert len(rows(tmp_path)) == 50
    path.write_bytes(path.read_bytes().replace(b"row033", b"row\xff33"))
    with pytest.raises(DataError, match="not UTF-8: byte 0xff") as caught:
        rows(tmp_path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("kind", ["dictionary", "large_string", "string_view"])
def test_texts_of_parquet_in_any_layout(tmp_path, kind):
    first = pyarrow.array(["a", "007"])
    odd = first.dictionary_encode() if kind == "dictionary" else first.cast(kind)
    parquet(tmp_path, [odd, first, pyarrow.array([0.0, 1.0])], PAIR)
    assert rows(tmp_path) == [("a", "a", "0"), ("007", "007", "1")]


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_packed_text_files_are_read(tmp_path, ending, pack, kind):
    row = '{"sentence1": "a", "sentence2": "b", "label": 0}\n'
    copy(tmp_path, {f"test.{kind}.{ending}": ""})
    path = tmp_path / f"me/pairs/test.{kind}.{ending}"
    path.write_bytes(pack((f"{HEADER}a,b,0\n" if kind == "csv" else row).encode()))
    assert rows(tmp_path) == [("a", "b", "0")]
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match=f"not a whole .{ending} file"):
        rows(tmp_path)


def test_an_arrow_file_is_called_by_its_name(tmp_path):
    copy(tmp_path, {"test.arrow": "ARROW1\0\0 and so on ARROW1"})
    with pytest.raises(DataError, match="an Arrow table"):
        rows(tmp_path)


def test_a_split_in_two_kinds_of_files_is_not_guessed(tmp_path):
    copy(tmp_path, {"test.csv": f"{HEADER}a,b,0\n", "test.tsv": "x\n"})
    with pytest.raises(DataError, match=r"split 'test' is there as \.csv and \.tsv"):
        rows(tmp_path)


def test_a_card_that_is_broken_or_points_elsewhere_is_refused(tmp_path):
    copy(tmp_path, {"README.md": "---\nconfigs: [\n---\n", "test.csv": f"{HEADER}a,b,0\n"})
    with pytest.raises(DataError, match="the card's header is no YAML"):
        rows(tmp_path)
    card = '---\nconfigs:\n- config_name: default\n  data_files: "../../secret.csv"\n---\n'
    copy(tmp_path, {"README.md": card})
    with pytest.raises(DataError, match=r"outside of the copy: '\.\./\.\./secret\.csv'"):
        rows(tmp_path, split="train")


def test_brackets_in_the_path_are_no_pattern(tmp_path):
    root = tmp_path / "data [v1]*"
    copy(root, {"README.md": CARD, "de/test-0.csv": f"{HEADER}a,b,0\n"})
    assert rows(root, task_of("de")) == [("a", "b", "0")]
    write(root, {"odd[1].tsv": "x", "odd1.tsv": "y"})
    assert expand(root, ["odd[1].tsv"]) == (root / "odd[1].tsv",)


def test_a_replaced_file_of_equal_time_and_size_gives_the_new_rows(tmp_path):
    copy(tmp_path, {"test.csv": f"{HEADER}old,b,0\n"})
    path = tmp_path / "me/pairs/test.csv"
    before = path.stat()
    assert rows(tmp_path) == [("old", "b", "0")]
    copy(tmp_path, {"test.csv": f"{HEADER}new,b,0\n"})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert rows(tmp_path) == [("new", "b", "0")]


def test_class_labels_of_text_files_are_named_by_the_card(tmp_path):
    card = """---
dataset_info:
  features:
  - {name: sentence1, dtype: string}
  - name: label
    dtype: {class_label: {names: {'0': '1', '1': '0'}}}
---
"""
    copy(tmp_path, {"README.md": card, "test.jsonl": '{"sentence1": "a", "label": 1}\n'})
    source = {"columns": {"text": "sentence1", "target": "label"}}
    assert load(task_of(**source), "test", "en", tmp_path, offline=True)[0].target == "0"


@pytest.mark.parametrize("label", ["1", "1.0"])
def test_words_of_a_card_are_texts_also_where_yaml_has_other_plans(label, tmp_path):
    card = """---
configs:
- config_name: no
  data_files: norsk.jsonl
dataset_info:
  config_name: no
  features:
  - name: label
    dtype: {class_label: {names: {0: yes, 1: no}}}
---
"""
    copy(tmp_path, {"README.md": card, "norsk.jsonl": f'{{"sentence1": "a", "label": {label}}}\n'})
    source = {"columns": {"text": "sentence1", "target": "label"}}
    task = task_of("no", **source).model_copy(update={"labels": ["no", "yes"]})
    (row,) = load(task, "train", "en", tmp_path, offline=True)
    assert row.target == "no"


@pytest.mark.parametrize("names", ["{0: a, 2: b}", "{x: a}", "5", "[]"])
def test_class_labels_whose_numbers_have_gaps_name_nothing(names, tmp_path):
    card = f"---\ndataset_info:\n  features: [{{name: label, dtype: {{names: {names}}}}}, x]\n---\n"
    copy(tmp_path, {"README.md": card, "test.csv": f"{HEADER}a,b,1\n"})
    assert rows(tmp_path) == [("a", "b", "1")]


def test_a_bundle_holds_the_files_of_a_copy_and_its_card(tmp_path):
    copy(tmp_path / "data", {"README.md": CARD, "de/test-0.csv": f"{HEADER}a,b,0\n"})
    task = task_of("de")
    packed = bundle([task], tmp_path / "data", tmp_path / "x.tar")
    assert packed.files == 2
    with tarfile.open(tmp_path / "x.tar") as tar:
        tar.extractall(tmp_path / "there", filter="data")
    assert rows(tmp_path / "there", task) == [("a", "b", "0")]
