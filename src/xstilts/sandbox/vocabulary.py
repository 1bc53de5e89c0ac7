"""Every concept that the sandbox's languages have a word for, by class."""

from __future__ import annotations

from xstilts.sandbox import meaning

POINT = "."
"""Ends a sentence; written alike in every language."""
DETERMINERS = ("this", "every")
NUMBERS = ("two", "three", "seven")
ADVERBS = ("often", "soon", "quietly")
ADPOSITIONS = ("in", "near")
WHO, WHAT, WHERE = "who", "what", "where"
FIRST_NAMES = ("anna", "boris", "clara", "david", "edith", "felix", "greta", "henri")
SURNAMES = ("adler", "becker", "conrad", "duval", "engel", "fabre", "gerber", "horn")
CITIES = ("arden", "belmar", "corvin", "dorset", "elvas", "farro", "golden", "harwic")
SIDES = ("north", "south", "upper")
BODIES = ("union", "bank", "school")
GOOD = ("lovely", "great", "splendid", "clever", "gentle")
BAD = ("awful", "ugly", "boring", "nasty", "broken")

CONCEPTS = (
    *meaning.CONCEPTS,
    *DETERMINERS,
    *NUMBERS,
    *ADVERBS,
    *ADPOSITIONS,
    *(WHO, WHAT, WHERE),
    *FIRST_NAMES,
    *SURNAMES,
    *CITIES,
    *SIDES,
    *BODIES,
    *GOOD,
    *BAD,
)
"""All concepts with a word of their own in each language. Words of earlier ones never change when
concepts are added at the end."""

ASKED = {"cause": "What was the cause?", "effect": "What happened as a result?"}
"""The questions that task `xcopa` puts in these words in every language."""

SHARED = tuple(dict.fromkeys(word for text in ASKED.values() for word in text.split()))
"""Words that all languages have in common."""
