"""The scripts that texts are written in, by the names of their letters in Unicode."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

from xstilts.data.languages import languages

_OF_CODE = {
    "Arab": {"ARABIC"},
    "Beng": {"BENGALI"},
    "Cyrl": {"CYRILLIC"},
    "Deva": {"DEVANAGARI"},
    "Ethi": {"ETHIOPIC"},
    "Geor": {"GEORGIAN"},
    "Grek": {"GREEK"},
    "Gujr": {"GUJARATI"},
    "Guru": {"GURMUKHI"},
    "Hang": {"HANGUL", "CJK"},
    "Hani": {"CJK"},
    "Hans": {"CJK"},
    "Hebr": {"HEBREW"},
    "Jpan": {"CJK", "HIRAGANA", "KATAKANA"},
    "Latn": {"LATIN"},
    "Mlym": {"MALAYALAM"},
    "Mymr": {"MYANMAR"},
    "Taml": {"TAMIL"},
    "Telu": {"TELUGU"},
    "Thai": {"THAI"},
}
"""ISO 15924 code to the first words of its letters' names."""


def scripts_of(language: str) -> frozenset[str]:
    """What letters of a language are called in Unicode; nothing where the table is silent."""
    known = languages().get(language)
    return frozenset(_OF_CODE.get(known.script, ()) if known is not None else ())


def letters(texts: Iterable[str]) -> Counter[str]:
    """Number of letters by the first word of their names, such as `LATIN` or `CJK`."""
    counts: Counter[str] = Counter()
    for character, count in Counter(c for text in texts for c in text).items():
        if name := _script(character):
            counts[name] += count
    return counts


@cache
def _script(character: str) -> str:
    if not character.isalpha():
        return ""
    return unicodedata.name(character, "").partition(" ")[0]
