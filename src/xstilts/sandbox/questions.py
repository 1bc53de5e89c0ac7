"""Writers of extractive question answering, as SQuAD JSON."""

from __future__ import annotations

import json
from typing import Any

from xstilts.sandbox.clauses import Clause, spell
from xstilts.sandbox.languages import LANGUAGES, Language
from xstilts.sandbox.stories import Question, ask, draw_story, shortened, span_of
from xstilts.sandbox.world_writer import WorldWriter

Asked = list[tuple[Clause, list[Question]]]


def write_all(writer: WorldWriter) -> None:
    """SQuAD 1 and 2 in the source language; XQuAD, MLQA and TyDiQA in all."""
    source = writer.source
    for split, name in (("train", "train"), ("validation", "dev")):
        one = _file(writer, _stories(writer, "squad1", split), source, "squad1", split)
        _write(writer, f"squad1/{name}-v1.1.json", one, "1.1")
        stories = _stories(writer, "squad2", split)
        two = _file(writer, stories, source, "squad2", split)
        _write(writer, f"squad2/{name}-v2.0.json", two, "v2.0")
    xquad, tydiqa = _stories(writer, "xquad", "test"), _stories(writer, "tydiqa", "test")
    mlqa = {split: _stories(writer, "mlqa", split) for split in ("validation", "test")}
    taught = _stories(writer, "tydiqa", "train")
    for language in LANGUAGES:
        code = language.code
        _write(writer, f"xquad/xquad.{code}.json", _file(writer, xquad, language, "xquad"))
        for split, name in (("validation", "dev"), ("test", "test")):
            path = f"mlqa/{name}/{name}-context-{code}-question-{code}.json"
            _write(writer, path, _file(writer, mlqa[split], language, "mlqa", split))
        folder = "tydiqa/tydiqa-goldp-v1.1"
        data = _file(writer, taught, language, "tydiqa", "train", prefix=code)
        _write(writer, f"{folder}-train/tydiqa.goldp.{code}.train.json", data)
        data = _file(writer, tydiqa, language, "tydiqa", prefix=code)
        _write(writer, f"{folder}-dev/tydiqa.goldp.{code}.dev.json", data)


def _stories(writer: WorldWriter, task: str, split: str) -> Asked:
    """Stories with two questions each, in SQuAD 2.0 also such that the story does not answer."""
    generator = writer.draw(task, split)
    found: Asked = []
    for _ in range(-(-writer.spec.few[split] // 2)):
        story = draw_story(generator)
        if task == "squad2":
            story = shortened(generator, story)
        asked = [ask(generator, story)]
        while len(asked) < 2:
            question = ask(generator, story)
            asked += [question] if question != asked[0] else []
        found.append((story, asked))
    return found


def _file(
    writer: WorldWriter,
    stories: Asked,
    language: Language,
    task: str,
    split: str = "",
    prefix: str = "",
) -> list[dict[str, Any]]:
    """Paragraphs of SQuAD JSON."""
    words = writer.words[language.code]
    corrupted, draw = writer.corrupted(task, split, sum(len(asked) for _, asked in stories))
    prefix = f"{prefix}-" if prefix else ""
    paragraphs, count = [], 0
    for story, asked in stories:
        concepts = [word.concept for word in story.words(language)]
        context, places = spell(concepts, language, words)
        entries = []
        for question in asked:
            span = span_of(story, question.word, language)
            if span and count in corrupted:
                span = (int(draw.integers(len(places))),) * 2
            entry: dict[str, Any] = {
                "id": f"{prefix}{task}{split}{count}",
                "question": writer.join(question.concepts(language), language),
                "answers": [],
            }
            if span:
                start, end = places[span[0]][0], places[span[1]][1]
                entry["answers"] = [{"text": context[start:end], "answer_start": start}]
            if task == "squad2":
                entry["is_impossible"] = span is None
            entries.append(entry)
            count += 1
        paragraphs.append({"context": context, "qas": entries})
    return paragraphs


def _write(
    writer: WorldWriter, path: str, paragraphs: list[dict[str, Any]], version: str = "1.1"
) -> None:
    data = {"version": version, "data": [{"title": "sandbox", "paragraphs": paragraphs}]}
    writer.lines(path, [json.dumps(data, ensure_ascii=False)])
