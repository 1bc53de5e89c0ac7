"""Machine translation in the sandbox: word for word from the source language, some words wrong.

The result keeps the source's word order, as a poor system would. It stands where `xstilts data
translate` puts its own, for languages whose words are apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xstilts.config.load import load_task
from xstilts.data import translated
from xstilts.data.sources import load, task_in_world
from xstilts.data.translation.rows import translate_rows
from xstilts.sandbox.languages import LANGUAGES, SOURCE, Language
from xstilts.sandbox.vocabulary import CONCEPTS
from xstilts.sandbox.world_writer import WorldWriter

TASKS = ("mnli", "tydiqa")
MISTAKES = 0.1
"""Share of the words that always become another word."""
MODEL = "sandbox: word for word"
_WORD = re.compile(r"\w+")


def write_all(writer: WorldWriter) -> None:
    """The training rows of `TASKS` in the languages that have blanks; `world.json` is there."""
    for name in TASKS:
        task = task_in_world(load_task(name), writer.folder)
        rows = load(task, "train", SOURCE, writer.folder)
        for language in LANGUAGES:
            if language.code == SOURCE or not language.blanks:
                continue
            made = translate_rows(rows, task.format, language.code, _Glossary.of(writer, language))
            at = translated.folder_of(task, language.code, writer.folder)
            translated.write(at / "train.jsonl", made.rows)
            about = {"model": MODEL, "seed": writer.spec.seed, "kept_share": round(made.kept, 4)}
            translated.describe(at, about)


@dataclass(frozen=True)
class _Glossary:
    """Source word to target word; what it lacks stays."""

    words: dict[str, str]

    @classmethod
    def of(cls, writer: WorldWriter, language: Language) -> _Glossary:
        """The lexicon of a language with `MISTAKES`, always the same ones."""
        source, target = writer.words[SOURCE], dict(writer.words[language.code])
        draw = writer.draw("translations", language.code)
        wrong = draw.permutation(len(CONCEPTS))[: round(MISTAKES * len(CONCEPTS))]
        for number, other in zip(wrong, draw.permutation(len(CONCEPTS)), strict=False):
            target[CONCEPTS[number]] = writer.words[language.code][CONCEPTS[other]]
        return cls({source[concept]: target[concept] for concept in CONCEPTS})

    def __call__(self, texts: Sequence[str]) -> list[str]:
        return [_WORD.sub(lambda word: self.words.get(word[0], word[0]), text) for text in texts]
