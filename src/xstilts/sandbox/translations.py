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
from xstilts.sandbox.making import Making
from xstilts.sandbox.vocabulary import CONCEPTS

TASKS = ("mnli", "tydiqa")
MISTAKES = 0.1
"""Share of the words that always become another word."""
MODEL = "sandbox: word for word"
_WORD = re.compile(r"\w+")


def write_all(making: Making) -> None:
    """The training rows of `TASKS` in the languages that have blanks; `world.json` is there."""
    for name in TASKS:
        task = task_in_world(load_task(name), making.folder)
        rows = load(task, "train", SOURCE, making.folder)
        for language in LANGUAGES:
            if language.code == SOURCE or not language.blanks:
                continue
            made = translate_rows(rows, task.format, language.code, _Glossary.of(making, language))
            at = translated.folder_of(task, language.code, making.folder)
            translated.write(at / "train.jsonl", made.rows)
            about = {"model": MODEL, "seed": making.spec.seed, "kept_share": round(made.kept, 4)}
            translated.describe(at, about)


@dataclass(frozen=True)
class _Glossary:
    """Source word to target word; what it lacks stays."""

    words: dict[str, str]

    @classmethod
    def of(cls, making: Making, language: Language) -> _Glossary:
        """The lexicon of a language with `MISTAKES`, always the same ones."""
        source, target = making.words[SOURCE], dict(making.words[language.code])
        draw = making.draw("translations", language.code)
        wrong = draw.permutation(len(CONCEPTS))[: round(MISTAKES * len(CONCEPTS))]
        for number, other in zip(wrong, draw.permutation(len(CONCEPTS)), strict=False):
            target[CONCEPTS[number]] = making.words[language.code][CONCEPTS[other]]
        return cls({source[concept]: target[concept] for concept in CONCEPTS})

    def __call__(self, texts: Sequence[str]) -> list[str]:
        return [_WORD.sub(lambda word: self.words.get(word[0], word[0]), text) for text in texts]
