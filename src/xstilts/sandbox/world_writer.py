"""What all writers of the sandbox's files share: words, draws, noise, and lines to files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator

from xstilts.sandbox.clauses import Clause, spell
from xstilts.sandbox.languages import LANGUAGES, SOURCE, Language, lexicon
from xstilts.sandbox.meaning import Fact, say
from xstilts.sandbox.spec import SandboxSpec
from xstilts.sandbox.vocabulary import CONCEPTS, POINT

T = TypeVar("T")

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class WorldWriter:
    """A world being written below `folder`.

    Files are written plainly: the folder is new and becomes visible as a whole.
    """

    folder: Path
    spec: SandboxSpec

    @cached_property
    def words(self) -> dict[str, dict[str, str]]:
        """Language to concept to word."""
        seed = self.spec.seed
        return {lang.code: lexicon(lang, CONCEPTS, seed) | {POINT: POINT} for lang in LANGUAGES}

    @cached_property
    def source(self) -> Language:
        """The language that plays English's part."""
        return next(language for language in LANGUAGES if language.code == SOURCE)

    def draw(self, *salt: int | str) -> Generator:
        """A generator of its own for each purpose."""
        numbers = [b for s in salt for b in ([s] if isinstance(s, int) else s.encode())]
        return np.random.default_rng([self.spec.seed, *numbers])

    # -- words

    def put(self, fact: Fact, language: Language) -> str:
        """A fact in words."""
        return say(fact, language, self.words[language.code])

    def tell(self, clause: Clause, language: Language) -> str:
        """A clause in words, with its point."""
        return self.join([word.concept for word in clause.words(language)], language)

    def join(self, concepts: Sequence[str], language: Language) -> str:
        """Concepts in words, in the given order."""
        return spell(concepts, language, self.words[language.code])[0]

    # -- noise

    def noisy(self, task: str, split: str, labels: Sequence[T]) -> list[T]:
        """The labels, some dealt out anew among their rows where the spec says so."""
        result = list(labels)
        picked, draw = self._picked(task, split, len(labels))
        dealt = draw.permutation(len(picked))
        for place, other in zip(picked, dealt, strict=True):
            result[place] = labels[picked[int(other)]]
        return result

    def corrupted(self, task: str, split: str, count: int) -> tuple[set[int], Generator]:
        """The rows whose answers become wrong, and a generator to draw them with."""
        picked, draw = self._picked(task, split, count)
        return set(picked), draw

    def _picked(self, task: str, split: str, count: int) -> tuple[list[int], Generator]:
        share = self.spec.noise.get(task, 0.0) if split == "train" else 0.0
        draw = self.draw("noise", task)
        rows = draw.permutation(count)[: round(share * count)]
        return sorted(int(row) for row in rows), draw

    # -- files

    def lines(self, path: str, lines: Iterable[str]) -> None:
        """A text file, one line each."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)

    def rows(self, path: str, rows: Iterable[Sequence[object]]) -> None:
        """A file of columns between tabs."""
        self.lines(path, ("\t".join(map(str, row)) for row in rows))

    def records(self, path: str, records: Iterable[Mapping[str, Any]]) -> None:
        """A file with one JSON object a line."""
        self.lines(path, (json.dumps(record, ensure_ascii=False) for record in records))
