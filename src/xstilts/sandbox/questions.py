"""Writers of extractive question answering, as SQuAD JSON."""

from __future__ import annotations

import json
from typing import Any

from xstilts.sandbox.clauses import spell
from xstilts.sandbox.languages import LANGUAGES, Language
from xstilts.sandbox.making import Making
from xstilts.sandbox.stories import (
    ASKED,
    Question,
    Story,
    ask,
    concepts_of,
    draw_story,
    span_of,
)

UNANSWERABLE = 1 / 3

Asked = list[tuple[Story, list[Question]]]


def write_all(making: Making) -> None:
    """SQuAD 1 and 2 in the source language; XQuAD, MLQA and TyDiQA in all."""
    source = making.source
    for split, name in (("train", "train"), ("validation", "dev")):
        one = _file(making, _stories(making, "squad1", split), source, "squad1", split)
        _write(making, f"squad1/{name}-v1.1.json", one, "1.1")
        stories = _stories(making, "squad2", split, unanswerable=UNANSWERABLE)
        two = _file(making, stories, source, "squad2", split)
        _write(making, f"squad2/{name}-v2.0.json", two, "v2.0")
    xquad, tydiqa = _stories(making, "xquad", "test"), _stories(making, "tydiqa", "test")
    mlqa = {split: _stories(making, "mlqa", split) for split in ("validation", "test")}
    taught = _stories(making, "tydiqa", "train")
    for language in LANGUAGES:
        code = language.code
        _write(making, f"xquad/xquad.{code}.json", _file(making, xquad, language, "xquad"))
        for split, name in (("validation", "dev"), ("test", "test")):
            path = f"mlqa/{name}/{name}-context-{code}-question-{code}.json"
            _write(making, path, _file(making, mlqa[split], language, "mlqa", split))
        folder = "tydiqa/tydiqa-goldp-v1.1"
        data = _file(making, taught, language, "tydiqa", "train", prefix=code)
        _write(making, f"{folder}-train/tydiqa.goldp.{code}.train.json", data)
        data = _file(making, tydiqa, language, "tydiqa", prefix=code)
        _write(making, f"{folder}-dev/tydiqa.goldp.{code}.dev.json", data)


def _stories(making: Making, task: str, split: str, unanswerable: float = 0.0) -> Asked:
    """Stories with two questions each."""
    generator = making.draw(task, split)
    found: Asked = []
    for _ in range(-(-making.spec.few[split] // 2)):
        story = draw_story(generator)
        asked = [ask(generator, story, answerable=generator.random() >= unanswerable)]
        while len(asked) < 2:
            answerable = generator.random() >= unanswerable
            question = ask(generator, story, answerable=answerable)
            asked += [question] if question != asked[0] else []
        found.append((story, asked))
    return found


def _file(
    making: Making, stories: Asked, language: Language, task: str, split: str = "", prefix: str = ""
) -> list[dict[str, Any]]:
    """Paragraphs of SQuAD JSON."""
    words = making.words[language.code]
    spoilt, draw = making.spoilt(task, split, sum(len(asked) for _, asked in stories))
    prefix = f"{prefix}-" if prefix else ""
    paragraphs, count = [], 0
    for story, asked in stories:
        context, places = spell(concepts_of(story, language), language, words)
        entries = []
        for question in asked:
            entry: dict[str, Any] = {
                "id": f"{prefix}{task}{split}{count}",
                "question": making.join(question.concepts(language), language),
                "answers": [],
            }
            if question.clause >= 0:
                part = ASKED[question.word]
                first, last = span_of(story, question.clause, part, language)
                if count in spoilt:
                    first = last = int(draw.integers(len(places)))
                start, end = places[first][0], places[last][1]
                entry["answers"] = [{"text": context[start:end], "answer_start": start}]
            if task == "squad2":
                entry["is_impossible"] = question.clause < 0
            entries.append(entry)
            count += 1
        paragraphs.append({"context": context, "qas": entries})
    return paragraphs


def _write(
    making: Making, path: str, paragraphs: list[dict[str, Any]], version: str = "1.1"
) -> None:
    data = {"version": version, "data": [{"title": "sandbox", "paragraphs": paragraphs}]}
    making.lines(path, [json.dumps(data, ensure_ascii=False)])
