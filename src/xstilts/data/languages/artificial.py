"""The sandbox's artificial languages: scripts, families, word orders and letters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArtificialLanguage:
    """An artificial language with a private-use code.

    Attributes:
        iso15924: Code of the script whose letters it borrows.
        letters: The characters that its words are made of.
        order: Order of agent (A), verb (V) and object (O).
        adjective_first: Whether adjectives stand before their noun.
        blanks: Whether words are separated.
        seen: Whether the sandbox's backbone is pretrained on it.
    """

    code: str
    name: str
    script: str
    iso15924: str
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
_GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
_Made = ArtificialLanguage

LANGUAGES: tuple[ArtificialLanguage, ...] = (
    _Made("qaa", "Aralic", "Latin", "Latn", "Aric", _LATIN, "AVO"),
    _Made("qab", "Baric", "Latin", "Latn", "Aric", _LATIN, "AVO", adjective_first=False),
    _Made("qac", "Cyralic", "Cyrillic", "Cyrl", "Aric", _span("а", 32), "AVO"),
    _Made("qad", "Delic", "Greek", "Grek", "Delan", _GREEK, "AOV"),
    _Made("qae", "Evanic", "Devanagari", "Deva", "Delan", _span("क", 37), "AOV"),
    _Made("qaf", "Farabic", "Arabic", "Arab", "Faric", _span("ب", 18), "VAO", False),
    _Made("qag", "Ganic", "Han", "Hani", "Ganic", _span("一", 900), "AVO", blanks=False),
    _Made("qah", "Hageorgic", "Georgian", "Geor", "Hagic", _span("ა", 33), "AOV", seen=False),
)
SOURCE = "qaa"
"""The language that plays English's part."""
