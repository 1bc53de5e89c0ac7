"""Lexicons of the sandbox's artificial languages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xstilts.data.languages.artificial import LANGUAGES, SOURCE
from xstilts.data.languages.artificial import ArtificialLanguage as Language

__all__ = ["LANGUAGES", "SOURCE", "Language", "lexicon"]


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
