"""The sandbox's artificial languages: scripts, families, word orders and lexicons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Language:
    """An artificial language with a private-use code.

    Attributes:
        letters: The characters that its words are made of.
        order: Order of agent (A), verb (V) and object (O).
        adjective_first: Whether adjectives stand before their noun.
        blanks: Whether words are separated.
        seen: Whether the backbone is pretrained on it.
    """

    code: str
    name: str
    script: str
    family: str
    letters: str
    order: str
    adjective_first: bool = True
    blanks: bool = True
    seen: bool = True

    def describe(self) -> dict[str, object]:
        """Its entry in `world.json`."""
        return {
            "code": self.code,
            "iso3": self.code,
            "name": self.name,
            "script": self.script,
            "family": self.family,
            "seen": self.seen,
        }


def _span(first: str, count: int) -> str:
    return "".join(chr(ord(first) + i) for i in range(count))


_LATIN = "abcdefghijklmnopqrstuvwxyz"

LANGUAGES: tuple[Language, ...] = (
    Language("qaa", "Aralic", "Latin", "Aric", _LATIN, "AVO"),
    Language("qab", "Baric", "Latin", "Aric", _LATIN, "AVO", adjective_first=False),
    Language("qac", "Cyralic", "Cyrillic", "Aric", _span("а", 32), "AVO"),
    Language("qad", "Delic", "Greek", "Delan", "αβγδεζηθικλμνξοπρστυφχψω", "AOV"),
    Language("qae", "Evanic", "Devanagari", "Delan", _span("क", 37), "AOV"),
    Language("qaf", "Farabic", "Arabic", "Faric", _span("ب", 18), "VAO", adjective_first=False),
    Language("qag", "Ganic", "Han", "Ganic", _span("一", 900), "AVO", blanks=False),
    Language("qah", "Hageorgic", "Georgian", "Hagic", _span("ა", 33), "AOV", seen=False),
)
SOURCE = "qaa"
"""The language that plays English's part."""


def lexicon(language: Language, concepts: Sequence[str], seed: int) -> dict[str, str]:
    """Concept to word, all different; drawn for the language, repeatable."""
    generator = np.random.default_rng([seed, *language.code.encode()])
    letters = list(language.letters)
    words: dict[str, str] = {}
    taken: set[str] = set()
    for concept in concepts:
        while True:
            size = int(generator.integers(4, 8)) if language.blanks else 2
            word = "".join(generator.choice(letters, size))
            if word not in taken:
                taken.add(word)
                words[concept] = word
                break
    return words
