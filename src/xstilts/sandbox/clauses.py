"""Richer sentences than facts: names, places, numbers and adverbs, word by word with their tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from numpy.random import Generator

from xstilts.sandbox import vocabulary as v
from xstilts.sandbox.languages import Language
from xstilts.sandbox.meaning import ADJECTIVES, KINDS, NEGATION, NOUNS, VERBS


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a clause.

    Attributes:
        concept: What it means.
        upos: Its part of speech.
        supertag: Its CCG category in the source language.
        entity: PER, ORG or LOC when it belongs to a name.
    """

    concept: str
    upos: str
    supertag: str
    entity: str = ""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun or a name with what belongs to it."""

    head: Word
    modifier: Word | None = None
    determiner: Word | None = None

    def words(self, language: Language) -> list[Word]:
        """Its words in the language's order; names have one order, determiners come first."""
        first = [self.determiner] if self.determiner else []
        if self.modifier is None:
            return [*first, self.head]
        pair = [self.modifier, self.head]
        as_is = language.adjective_first or self.head.entity
        return [*first, *(pair if as_is else pair[::-1])]


@dataclass(frozen=True, slots=True)
class Clause:
    """Who does what to whom, and where; object, place and adverb are optional."""

    agent: Phrase
    verb: str
    object: Phrase | None = None
    place: Phrase | None = None
    adposition: str = "in"
    adverb: str = ""
    negated: bool = False

    def parts(self, language: Language) -> list[tuple[str, list[Word]]]:
        """The parts `agent`, `verb`, `object`, `place`, `at` (its adposition), `point` in order.

        Languages that end in the verb put the adposition behind the place, and both before the
        object.
        """
        slots = {"A": [("agent", self.agent.words(language))], "V": [("verb", self._verb())]}
        slots["O"] = [("object", self.object.words(language))] if self.object else []
        where: list[tuple[str, list[Word]]] = []
        if self.place:
            at = Word(self.adposition, "ADP", r"((S\NP)\(S\NP))/NP")
            where = [("at", [at]), ("place", self.place.words(language))]
        if language.order == "AOV":
            slots["A"] = slots["A"] + where[::-1]
            where = []
        ordered = [part for slot in language.order for part in slots[slot]]
        return [*ordered, *where, ("point", [Word(v.POINT, "PUNCT", ".")])]

    def words(self, language: Language) -> list[Word]:
        """All words in the language's order."""
        return [word for _, words in self.parts(language) for word in words]

    def _verb(self) -> list[Word]:
        before = r"(S\NP)/(S\NP)"
        words = [Word(NEGATION, "PART", before)] if self.negated else []
        if self.adverb:
            words.append(Word(self.adverb, "ADV", before))
        category = r"(S\NP)/NP" if self.object else r"S\NP"
        return [*words, Word(self.verb, "VERB", category)]


# --------------------------------------------------------------------------------------- drawing


def one(generator: Generator, values: Sequence[str], but: Sequence[str] = ()) -> str:
    """One of the values that is not in `but`."""
    left = [value for value in values if value not in but] if but else values
    return left[int(generator.integers(len(left)))]


def draw_noun(generator: Generator, nouns: Sequence[str] = NOUNS, *, bare: bool = False) -> Phrase:
    """A noun, often with an adjective or a number, and sometimes a determiner."""
    head = Word(one(generator, nouns), "NOUN", "N")
    chance = generator.random(2)
    modifier = determiner = None
    if chance[0] < 0.4:
        modifier = Word(one(generator, ADJECTIVES), "ADJ", "N/N")
    if chance[1] < 0.3:
        determiner = Word(one(generator, v.DETERMINERS), "DET", "NP/N")
    elif chance[1] < 0.5:
        determiner = Word(one(generator, v.NUMBERS), "NUM", "N/N")
    return Phrase(head) if bare else Phrase(head, modifier, determiner)


def draw_name(generator: Generator, kind: str) -> Phrase:
    """The name of a person (PER), an organisation (ORG) or a place (LOC), of one or two words."""
    heads = {"PER": v.SURNAMES, "ORG": v.BODIES, "LOC": v.CITIES}
    modifiers = {"PER": v.FIRST_NAMES, "ORG": (*v.CITIES, *v.SURNAMES), "LOC": v.SIDES}
    alone = {"PER": (*v.FIRST_NAMES, *v.SURNAMES), "LOC": v.CITIES}
    if kind in alone and generator.random() < 0.5:
        return Phrase(Word(one(generator, alone[kind]), "PROPN", "N", kind))
    modifier = Word(one(generator, modifiers[kind]), "PROPN", "N/N", kind)
    return Phrase(Word(one(generator, heads[kind]), "PROPN", "N", kind), modifier)


AGENTS = (*KINDS["animal"], *KINDS["person"])


def draw_clause(generator: Generator) -> Clause:
    """A clause with names and with optional parts."""
    chance = generator.random(6)
    if chance[0] < 0.4:
        agent = draw_name(generator, "PER")
    elif chance[0] < 0.6:
        agent = draw_name(generator, "ORG")
    else:
        agent = draw_noun(generator, AGENTS)
    clause = Clause(agent, one(generator, VERBS), adposition=one(generator, v.ADPOSITIONS))
    if chance[1] < 0.8:
        kind = "PER" if chance[5] < 0.5 else "ORG"
        named = chance[2] < 0.25
        patient = draw_name(generator, kind) if named else draw_noun(generator)
        clause = replace(clause, object=patient)
    if chance[3] < 0.5:
        clause = replace(clause, place=draw_name(generator, "LOC"))
    if chance[4] < 0.25:
        clause = replace(clause, adverb=one(generator, v.ADVERBS))
    elif chance[4] < 0.35:
        clause = replace(clause, negated=True)
    return clause


# --------------------------------------------------------------------------------------- writing


def spell(
    concepts: Sequence[str], language: Language, words: Mapping[str, str]
) -> tuple[str, list[tuple[int, int]]]:
    """A text and where each of its words begins and ends, in characters."""
    blank = " " if language.blanks else ""
    text = ""
    places = []
    for number, concept in enumerate(concepts):
        text += (blank if number else "") + words[concept]
        places.append((len(text) - len(words[concept]), len(text)))
    return text, places


def entity_tags(clause: Clause, language: Language) -> list[str]:
    """The clause's entities in B and I notation, a tag a word."""
    tags = []
    for _, words in clause.parts(language):
        inside = False
        for word in words:
            tags.append(f"{'I' if inside else 'B'}-{word.entity}" if word.entity else "O")
            inside = bool(word.entity)
    return tags
