"""Every reader and scorer against every kind of damage: an error with the file, or rows."""

from __future__ import annotations

import pytest
from support.reader_files import GOOD, REFUSED, SQUAD

from xstilts.config.load import load_task
from xstilts.data.pairs import load_pair
from xstilts.data.readers import READERS
from xstilts.data.sources import load
from xstilts.errors import DataError, IntegrityError, NotFoundError
from xstilts.tasks.prediction_files import score_file

VALUES = (
    "null", "5", '"x"', "[]", "{}", "[1]", "[null]", '{"data": 5}', '{"data": []}', '{"data": [5]}',
    '{"data": [{"paragraphs": 5}]}', '{"data": [{"paragraphs": [{"context": 5, "qas": [{}]}]}]}',
    '{"data": [{"paragraphs": [{"context": "a", "qas": [null]}]}]}',
    '{"data": [{"paragraphs": [{"context": "a", "qas": null}]}]}',
    '{"data": ' + "9" * 5000 + "}", "[" * 100_000, '{"a": NaN}', '["\\ud800"]',
)  # fmt: skip
EDITS = (
    (b'"text": "Hund"', b'"text": 5'), (b'"answer_start": 4', b'"answer_start": null'),
    (b'"answer_start": 4', b'"answer_start": "4"'), (b'"answer_start": 4', b'"answer_start": -9'),
    (b'"question": "', b'"question": 5, "x": "'), (b'"id": "1"', b'"id": null'),
    (b'"id": "2"', b'"id": "1"'), (b'"answers": [', b'"answers": [null, '), (b"e f", b"e\tf"),
    (b'"context": "', b'"context": ["x"], "y": "'), (b"[[0, 15]]", b"[[0]]"),
    (b"[[0, 15]]", b"[5]"), (b"[[0, 15]]", b'[["a", "b"]]'), (b'"start": 0', b'"start": "0"'),
    (b'"start": 0', b'"start": null'), (b'"language": "de"', b'"language": 5'),
    (b'"entity_id": "Q1"', b'"entity_id": 7'), (b'"entity_id": "Q1"', b'"entity_id": ["Q1"]'),
    (b'"description": "', b'"description": 5, "z": "'), (b'"mentions": [', b'"mentions": [5, '),
    (b'"sentence_spans": [', b'"sentence_spans": [5, '),
    (b'"premise": "', b'"premise": [], "p": "'), (b'"label": "e"', b'"label": {}'),
    (b'"a \xc3\xa9, b"', b'"a \xc3\xa9'), (b'"a ', b'"a"b '), (b"0:1", b"0:"), (b"0:1", b"1:9"),
    (b"de-1", b""), (b"\t", b" "), (b"|", b""), (b"article", b"a"), (b"<para>", b"<para"),
    (b"1\t", b"1-1\t"), (b"1\t", b"x\t"), (b"1\t", b"1-\t"), (b"1\t", b"3\t"),
)  # fmt: skip


def others(data):
    """Damage that a reader may accept, as long as it does not crash."""
    lines = data.splitlines(keepends=True)
    yield from (value.encode() for value in VALUES)
    yield from (data.replace(old, new, 1) for old, new in EDITS if old in data)
    yield from (data.replace(old, new) for old, new in EDITS if old in data)
    yield data[: len(data) // 2].decode(errors="ignore").encode()
    yield data.replace(b"\n", b"\r\n")
    yield data.replace(b"\n", b"\r\n", 1)
    for at, line in enumerate(lines):
        for new in (b"", line * 2, b"\n", b"x\n", b"{}\n", b"null\n", b'"\n', b"\t\t\t\n", b",,\n"):
            yield b"".join([*lines[:at], new, *lines[at + 1 :]])


def read(task, split, language, folder):
    if task.format == "retrieval":
        return load_pair(task, language, folder, split, offline=True)
    return load(task, split, language, folder, offline=True)


@pytest.fixture
def place(request, tmp_path):
    """The task, split and language of a reader, a folder with its files, and these."""
    task, split, language, files = GOOD[request.param]
    paths = [tmp_path / name for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return load_task(task), split, language, tmp_path, paths


readers = pytest.mark.parametrize("place", GOOD, indirect=True)


def test_every_reader_of_files_is_here():
    assert {name for name in GOOD if ":" not in name} == set(READERS.names()) - {"hub"}


@readers
def test_the_undamaged_files_are_read(place):
    assert read(*place[:4])


@readers
@pytest.mark.parametrize("damage", REFUSED)
def test_what_is_no_data_is_refused_by_name(place, damage):
    *where, paths = place
    for path in paths:
        whole = path.read_bytes()
        path.write_bytes(REFUSED[damage](whole))
        with pytest.raises(DataError) as caught:
            read(*where)
        assert path.name in caught.value.where
        path.write_bytes(whole)


@readers
def test_other_damage_never_crashes(place):
    *where, paths = place
    names = [path.name for path in paths]
    refused = 0
    for path in paths:
        whole = path.read_bytes()
        for data in others(whole):
            path.write_bytes(data)
            try:
                read(*where)
            except (DataError, IntegrityError, NotFoundError) as error:
                assert any(name in error.where for name in names), (data[:200], str(error))
                refused += 1
        path.write_bytes(whole)
    assert refused


SCORED = {
    "xnli": ("tsv", "neutral\nentailment\nneutral\n"),
    "panx": ("tsv", "B-PER\nO\n\nO\nI-LOC\n"),
    "xquad": ("json", SQUAD),
    "bucc2018": ("tsv", "de-1\ten-1\nde-2\ten-3\n"),
    "xcopa": ("jsonl", '{"label": 1}\n{"label": 0}\n'),
    "mewslix": ("json", '{"m1": ["Q1"], "m2": ["Q2"]}'),
}
"""Task to the suffix and the text of its label file."""


@pytest.fixture
def files(request, tmp_path):
    """A task and its files of predictions and labels, which agree."""
    suffix, labels = SCORED[request.param]
    paths = [tmp_path / f"{side}.{suffix}" for side in ("predictions", "labels")]
    answers = '{"1": "Hund", "2": "Hund"}' if request.param == "xquad" else labels
    for path, text in zip(paths, (answers, labels), strict=True):
        path.write_bytes(text.encode())
    return request.param, paths


scored = pytest.mark.parametrize("files", SCORED, indirect=True)


@scored
@pytest.mark.parametrize("damage", [name for name in REFUSED if name != "blank lines"])
def test_damaged_score_files_are_refused_by_name(files, damage):
    task, paths = files
    assert 100.0 in score_file(task, *paths, "de").values()
    for path in paths:
        if damage == "nothing" and path.stem == "predictions" and task == "bucc2018":
            continue  # nothing was mined
        whole = path.read_bytes()
        path.write_bytes(REFUSED[damage](whole))
        with pytest.raises(DataError) as caught:
            score_file(task, *paths, "de")
        assert str(path) in caught.value.where
        path.write_bytes(whole)


@scored
def test_other_damage_of_score_files_never_crashes(files):
    task, paths = files
    for path in paths:
        whole = path.read_bytes()
        for data in others(whole):
            path.write_bytes(data)
            try:
                score_file(task, *paths, "de")
            except DataError as error:
                assert "predictions" in error.where or "labels" in error.where
        path.write_bytes(whole)


PARQUET = b"PAR1" + bytes(40) + b"PAR1"
HUB = {
    "web page for parquet": ("train.parquet", REFUSED["web page"](b""), "web page"),
    "cut off parquet": ("train.parquet", PARQUET[:20], "not a whole parquet file"),
    "empty parquet": ("train.parquet", b"", "empty"),
    "damaged parquet": ("train.parquet", PARQUET, "not a whole parquet file"),
    "cut off JSON": ("train.jsonl", b'{"sentence": "a", "label": 1}\n{"sent', "not valid JSON"),
}


@pytest.mark.parametrize("case", HUB)
def test_a_damaged_copy_of_a_hub_data_set(case, tmp_path, monkeypatch):
    name, data, what = HUB[case]
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "stanfordnlp/sst2"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=what) as caught:
        load(load_task("sst2"), "train", "en", tmp_path, offline=True)
    assert str(folder / name) in caught.value.where
