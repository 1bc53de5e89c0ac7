"""Mewsli-X: mentions in news text retrieve the entity they mean.

The source side is the mentions of one language (`wikinews_mentions-*.jsonl`, all languages in one
file), the target side the entity descriptions (`candidate_set_entities.jsonl`). A mention is
written `Smith: The verdict came back for { Smith } in …`, with the sentence that holds it.
`target` of a row is the entity's id, which is what pairs the two sides.
Ruder et al., 2021, arXiv:2104.07412.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.readers import Rows
from xstilts.data.rows import Dropped, ReaderOptions, options_of
from xstilts.data.text import json_lines, of_kind, place, where
from xstilts.errors import DataError

_MARKED = re.compile(r"\{(.*?)\}")

TELLS_LANGUAGE = True
"""Rows of the target side are in languages of their own, not in the pivot."""


class Options(ReaderOptions):
    """Nothing besides what all readers take."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The mentions (`….source`) or the entities (`….target`).

    Raises:
        DataError: A line is not of Mewsli-X's form.
    """
    options_of(Options, source, task)
    rows = _entities if split.endswith("target") else _mentions
    for path in paths:
        number = 0
        try:
            for number, record in json_lines(path):
                yield from rows(record, path, number, language)
        except (LookupError, TypeError) as error:
            raise DataError(f"not Mewsli-X data: {error!r}", where=where(path, number)) from None


def _mentions(record: Mapping[str, Any], path: Path, number: int, language: str) -> Rows:
    context = record["context"]
    if context["language"] != language:
        return
    for mention in record["mentions"]:
        span = mention["mention_span"]
        start, end = span["start"], span["end"]
        holds = (s for s in context["sentence_spans"] if s["start"] <= start and end <= s["end"])
        sentence = next(holds, None)
        if sentence is None:
            yield Dropped(place(path, number), "the mention crosses a sentence break")
            continue
        before = _MARKED.sub(r"(\1)", context["text"][sentence["start"] : start])
        after = _MARKED.sub(r"(\1)", context["text"][end : sentence["end"]])
        text = _one_line(f"{span['text']}: {before} {{ {span['text']} }} {after}")
        target = (of_kind(mention["entity_id"], str),)
        row_id = of_kind(mention["example_id"], str)
        yield Example(row_id, language, {"text": text}, target, place(path, number))


def _entities(record: Mapping[str, Any], path: Path, number: int, language: str) -> Rows:
    del language
    spans = record["sentence_spans"]
    text = _one_line(" ".join(record["description"][s["start"] : s["end"]] for s in spans))
    entity = of_kind(record["entity_id"], str)
    spoken = of_kind(record["description_language"], str)
    yield Example(entity, spoken, {"text": text}, (entity,), place(path, number))


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()
