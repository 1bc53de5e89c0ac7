"""Broken data files: the error names file and line, and nothing half-converted stays."""

from __future__ import annotations

import json
import zipfile

import pytest

from xstilts.config.load import load_task
from xstilts.data import archives
from xstilts.data.conversion import convert
from xstilts.data.pairs import load_pair
from xstilts.data.sources import load
from xstilts.errors import DataError, IntegrityError, NotFoundError

HEADER = "language\tgold_label\tsb1\tsb2\tsp1\tsp2\tsentence1\tsentence2\tpromptID\n"
ROW = "de\tneutral\t_\t_\t_\t_\ta\tb\t1\n"


def xnli(*rows: str) -> dict[str, str]:
    return {"xnli.dev.tsv": HEADER + "".join(rows)}


def questions(**change) -> dict[str, str]:
    first = {"id": "1", "question": "Wer?", "answers": [{"text": "Hund", "answer_start": 4}]}
    second = {**first, "id": "2", **change}
    second = {key: value for key, value in second.items() if value is not None}
    data = [{"paragraphs": [{"context": "Ein Hund.", "qas": [first, second]}]}]
    return {"xquad.de.json": json.dumps({"version": "1.1", "data": data})}


def bucc(**change: str) -> dict[str, str]:
    sides = {"de": "de-1\teins\nde-2\tzwei\n", "en": "en-1\tone\n", "gold": "de-1\ten-1\n"}
    return {f"de-en.sample.{side}": text for side, text in {**sides, **change}.items() if text}


CONVERSIONS = {
    "lines: one side is shorter": (
        "tatoeba",
        {"tatoeba.deu-eng.deu": "a\nb\n", "tatoeba.deu-eng.eng": "a\n"},
        "2 lines on one side, 1 on the other",
        "tatoeba.deu-eng.deu:2",
    ),
    "lines: a row is cut off": (
        "xnli", xnli(ROW, "de\tneutral\ta\n"), "3 columns where 8", "xnli.dev.tsv:3"
    ),
    "byte order mark": (
        "pawsx", {"de/dev_2k.tsv": "\ufeffid\ta\tb\tl\n"}, "byte order mark", "dev_2k.tsv:1"
    ),
    "mixed line ends": (
        "udpos",
        {"de_x-ud-dev.conllu": "1\tJa\t_\tINTJ\t_\t_\t0\t_\t_\t_\r\n\n"},
        "line ends are mixed",
        "de_x-ud-dev.conllu:2",
    ),
    "mixed encodings": (
        "panx", {"de-dev": "de:Köln\tB-LOC\n".encode() + "de:Köln\tB-LOC\n".encode("latin-1")},
        "not UTF-8: byte 0xf6", "de-dev:2",
    ),
    "a label is missing": (
        "xnli", xnli(ROW, ROW.replace("neutral", "")), "no label", "xnli.dev.tsv:3"
    ),
    "a label is unknown": (
        "pawsx", {"de/test_2k.tsv": "id\ta\tb\tl\n1\ta\tb\t2\n"}, "label '2' is none of 0, 1",
        "test_2k.tsv:2",
    ),
    "answers are missing": ("xquad", questions(answers=None), "answers", "xquad.de.json:2"),
    "answers are empty": ("xquad", questions(answers=[]), "no gold answer", "xquad.de.json:2"),
    "the gold file is missing": ("bucc2018", bucc(gold=""), "sample.gold is missing", "sample.de"),
    "gold names no sentence": (
        "bucc2018", bucc(gold="de-1\ten-1\nde-2\ten-9\n"), "no sentence has the id 'en-9'",
        "sample.gold:2",
    ),
    "ids repeat in JSON": ("xquad", questions(id="1"), "id '1' repeats", "xquad.de.json:2"),
    "ids repeat in lines": (
        "bucc2018", bucc(de="de-1\teins\nde-1\tzwei\n"), "id 'de-1' repeats", "sample.de:2"
    ),
    "unknown language": (
        "xnli", xnli(ROW, ROW.replace("de", "deu")), "no language 'deu'", "xnli.dev.tsv:3"
    ),
    "unknown language in an id": (
        "tydiqa",
        {"tydiqa-goldp-v1.1-train.json": questions(id="klingon-1")["xquad.de.json"].replace(
            '"id": "1"', '"id": "english-1"')},
        "'klingon-1' begins with no language",
        "tydiqa-goldp-v1.1-train.json:2",
    ),
    "a web page for JSON": (
        "mlqa", {"test-context-de-question-de.json": "<!DOCTYPE html><html>404</html>"},
        "web page", "test-context-de-question-de.json:1",
    ),
    "cut off JSON": (
        "xquad", {"xquad.de.json": questions()["xquad.de.json"][:-9]}, "not valid JSON",
        "xquad.de.json:1",
    ),
    "a NUL byte": ("xnli", xnli(ROW, ROW.replace("a", "\0")), "NUL", "xnli.dev.tsv:3"),
}  # fmt: skip


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.mark.parametrize("case", CONVERSIONS)
def test_conversion(case, tmp_path):
    task, files, what, spot = CONVERSIONS[case]
    good = {"de-test": "de:Bonn\tB-LOC\n", "xquad.en.json": questions()["xquad.de.json"]}
    raw = write(tmp_path / "raw", {**good, **files})
    with pytest.raises(DataError, match=what) as caught:
        convert(task, raw, tmp_path / "out")
    assert spot in caught.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_line_ends_of_windows_are_read(tmp_path):
    files = xnli(ROW, ROW.replace("neutral", "entailment"))
    files = {name: text.replace("\n", "\r\n") for name, text in files.items()}
    convert("xnli", write(tmp_path / "raw", files), tmp_path / "out")
    assert (tmp_path / "out/dev-de.tsv").read_bytes() == b"a\tb\tneutral\na\tb\tentailment\n"


@pytest.mark.parametrize("nested", [False, True])
def test_a_zip_bomb(tmp_path, nested):
    (tmp_path / "raw").mkdir()
    bomb = tmp_path / ("inner.zip" if nested else "raw/XNLI-1.0.zip")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xnli.dev.tsv", bytes(archives.FREE_BYTES + 1))
    if nested:
        with zipfile.ZipFile(tmp_path / "raw/XNLI-1.0.zip", "w") as file:
            file.write(bomb, "inner.zip")
        bomb.unlink()
    with pytest.raises(IntegrityError, match="like a zip bomb") as caught:
        convert("xnli", tmp_path / "raw", tmp_path / "out")
    assert ("inner.zip" if nested else "XNLI-1.0.zip") in caught.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


READINGS = {
    "byte order mark": ("xnli", "xnli/test-de.tsv", "\ufeffa\tb\tneutral\n", "byte order", 1),
    "mixed line ends": ("xnli", "xnli/test-de.tsv", "a\tb\tneutral\r\nc\td\tneutral\n", "mixed", 2),
    "mixed encodings": (
        "xnli", "xnli/test-de.tsv", "ä\tb\tneutral\n".encode() + b"\xe4\tb\tneutral\n", "UTF-8", 2
    ),
    "columns": ("xnli", "xnli/test-de.tsv", "a\tb\tneutral\nc\n", "1 columns where 3", 2),
    "label": ("xnli", "xnli/test-de.tsv", "a\tb\tneutral\nc\td\tmaybe\n", "'maybe'", 2),
    "tags": ("udpos", "udpos/test-de.tsv", "Ja\tINTJ\n\nso\tADVERB\n", "'ADVERB'", 3),
    "words and labels": ("udpos", "udpos/test-de.tsv", "Ja\tINTJ\nso\n", "some words", 1),
    "web page": ("xquad", "xquad/xquad.de.json", "<html>404</html>", "web page", 1),
    "missing golds": (
        "xquad", "xquad/xquad.de.json", questions(answers=None)["xquad.de.json"], "no label", 2
    ),
    "repeated ids": (
        "xquad", "xquad/xquad.de.json", questions(id="1")["xquad.de.json"], "repeats", 2
    ),
    "offset": (
        "xquad", "xquad/xquad.de.json",
        questions(answers=[{"text": "Hund", "answer_start": 3}])["xquad.de.json"], "offset 3", 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READINGS)
def test_reading(case, tmp_path):
    task, name, text, what, row = READINGS[case]
    write(tmp_path, {name: text})
    with pytest.raises(DataError, match=what) as caught:
        load(load_task(task), "test", "de", tmp_path)
    assert f"{name.rpartition('/')[2]}:{row}" in caught.value.where


def test_sides_that_do_not_match(tmp_path):
    write(
        tmp_path,
        {"tatoeba/tatoeba.deu-eng.deu": "ja\nnein\n", "tatoeba/tatoeba.deu-eng.eng": "yes\n"},
    )
    with pytest.raises(DataError, match="2 sentences on one side, 1 on the other"):
        load_pair(load_task("tatoeba"), "de", tmp_path)


SORTED = {"tatoeba/de-en.de": "ja\nnein\n", "tatoeba/de-en.en": "no\nyes\n"}
ORDERS = {
    "1\n0\n": "",
    "1\n1\n": "sentence number '1' repeats",
    "1\n2\n": "sentence number '2' is none of 0 to 1",
    "1\nx\n": "sentence number 'x' is none of 0 to 1",
    "1\n0\n0\n": "3 lines for 2 sentences",
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_a_sorted_side(order, tmp_path):
    write(tmp_path, {**SORTED, "labels/tatoeba/test-de.tsv": order})
    if not ORDERS[order]:
        assert load_pair(load_task("tatoeba"), "de", tmp_path).gold == [(0, 1), (1, 0)]
        return
    with pytest.raises(DataError, match=ORDERS[order]) as caught:
        load_pair(load_task("tatoeba"), "de", tmp_path)
    assert "test-de.tsv:" in caught.value.where


def test_a_sorted_side_has_as_many_sentences_as_the_other(tmp_path):
    files = {**SORTED, "tatoeba/de-en.de": "ja\nnein\ndoch\n"}
    write(tmp_path, {**files, "labels/tatoeba/test-de.tsv": "1\n0\n"})
    with pytest.raises(DataError, match="3 sentences on one side, 2 on the other") as caught:
        load_pair(load_task("tatoeba"), "de", tmp_path)
    assert "de-en.de:3 against " in caught.value.where
    assert caught.value.where.endswith("de-en.en:2")


def test_an_unknown_language(tmp_path):
    with pytest.raises(NotFoundError, match="no language of task xnli named 'dee'") as caught:
        load(load_task("xnli"), "test", "dee", tmp_path)
    assert "'de'" in caught.value.hint


def test_splits_that_are_there_are_named(tmp_path):
    write(tmp_path, {"xquad/xquad.de.json": questions()["xquad.de.json"]})
    write(tmp_path, {"indonli/val.jsonl": '{"premise": "a", "hypothesis": "b", "label": "e"}\n'})
    with pytest.raises(NotFoundError) as caught:
        load(load_task("indonli"), "test", "id", tmp_path)
    assert caught.value.hint == "These splits are there: validation (--split validation)."
    with pytest.raises(NotFoundError) as caught:  # no command that trains has such an option
        load(load_task("indonli"), "train", "id", tmp_path)
    assert caught.value.hint == "These splits are there: validation."
