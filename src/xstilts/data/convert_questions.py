"""Conversion of question answering: answers stripped from test files, TyDiQA split by language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xstilts.config.load import load_task
from xstilts.data.raw import Raw, Written
from xstilts.data.text import read_json, where
from xstilts.errors import DataError
from xstilts.files import json_text


def xquad(raw: Raw) -> Iterator[Written]:
    """XQuAD without answers, and the original files as labels; Romanian too, for XTREME-R."""
    for language in load_task("xquad").every_language:
        path = raw.one(f"xquad.{language}.json")
        if path is not None:
            yield from _stripped(path, path.name, language)


def mlqa(raw: Raw) -> Iterator[Written]:
    """MLQA's test files with question and context in one language, stripped where they lie."""
    for language in load_task("mlqa").languages:
        path = raw.one(f"test-context-{language}-question-{language}.json")
        if path is not None:
            yield from _stripped(path, f"MLQA_V1/test/{path.name}", language)


def tydiqa(raw: Raw) -> Iterator[Written]:
    """TyDiQA-GoldP: training rows by language, ids cut to the last part; dev stripped as test."""
    codes = next(source.codes for source in load_task("tydiqa").sources if source.codes)
    train = raw.one("tydiqa-goldp-v1.1-train.json")
    if train is not None:
        yield from _by_language(train, {name: code for code, name in codes.items()})
    for language, name in codes.items():
        path = raw.one(f"tydiqa-goldp-dev-{name}.json")
        if path is not None:
            target = f"tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json"
            yield from _stripped(path, target, language)


def _by_language(path: Path, codes: dict[str, str]) -> Iterator[Written]:
    questions: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    version, found = _questions(path)
    for number, (context, question) in enumerate(found, 1):
        name, _, _ = question["id"].partition("-")
        if name not in codes:
            raise DataError(
                f"the id '{question['id']}' begins with no language of TyDiQA",
                where=where(path, number),
            )
        kept = {key: question[key] for key in ("answers", "question")}
        cut = question["id"].rpartition("-")[2]
        questions[codes[name]].append((context, {**kept, "id": cut}))
    for language, rows in questions.items():
        name = f"tydiqa-goldp-v1.1-train/tydiqa.goldp.{language}.train.json"
        yield Written(name, _squad(rows, version), len(rows))


def _stripped(path: Path, name: str, language: str) -> Iterator[Written]:
    version, found = _questions(path)
    blank = [{"answer_start": 0, "text": ""}]
    rows = [
        (context, {"answers": blank, "id": question["id"], "question": question["question"]})
        for context, question in found
    ]
    if not rows:
        raise DataError("the file has no questions", where=str(path))
    yield Written(name, _squad(rows, version), len(rows))
    yield Written(f"test-{language}.json", json_text(read_json(path)), len(rows), label=True)


def _squad(rows: list[tuple[str, dict[str, Any]]], version: Any) -> str:
    """SQuAD JSON with one paragraph entry a question, as XTREME writes it."""
    data = [{"paragraphs": [{"context": context, "qas": [qa]}]} for context, qa in rows]
    return json_text({"data": data, "version": version})


def _questions(path: Path) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
    """The file's version, and context and question of each question, offsets checked."""
    document = read_json(path)
    found: list[tuple[str, dict[str, Any]]] = []
    ids: set[str] = set()
    try:
        for article in document["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    _check(paragraph["context"], question, path, len(found) + 1)
                    if question["id"] in ids:
                        what = f"id '{question['id']}' repeats"
                        raise DataError(what, where=where(path, len(found) + 1))
                    ids.add(question["id"])
                    found.append((paragraph["context"], question))
    except (KeyError, TypeError) as error:
        raise DataError(f"not SQuAD JSON: {error!r}", where=where(path, len(found) + 1)) from None
    return document.get("version", ""), found


def _check(context: str, question: dict[str, Any], path: Path, number: int) -> None:
    if not question["answers"]:
        raise DataError(
            f"question '{question['id']}' has no gold answer",
            where=where(path, number),
            hint="Convert the original files, which have the answers.",
        )
    for answer in question["answers"]:
        start, text = answer["answer_start"], answer["text"]
        if context[start : start + len(text)] != text:
            raise DataError(
                f"the answer '{text[:40]}' is not at offset {start} of the context",
                where=where(path, number),
            )
        if not text:
            raise DataError(
                "the answers are already stripped",
                where=where(path, number),
                hint="Convert the original files, not converted ones.",
            )
    if not isinstance(question["id"], str) or not isinstance(question["question"], str):
        raise TypeError("id and question must be text")
