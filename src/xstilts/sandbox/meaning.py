"""Facts of the sandbox world as meanings, and the inferences between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from numpy.random import Generator

from xstilts.sandbox.languages import Language

KINDS: Mapping[str, tuple[str, ...]] = {
    "animal": ("dog", "cat", "horse", "bird", "fish", "wolf"),
    "person": ("girl", "boy", "king", "doctor", "singer", "farmer"),
    "food": ("bread", "apple", "soup", "cheese", "rice"),
    "tool": ("hammer", "rope", "lamp", "knife", "boat"),
}
VERBS = ("sees", "finds", "takes", "brings", "likes", "leaves", "hides", "wants", "keeps", "hears")
OPPOSITES = (("big", "small"), ("old", "new"), ("dark", "bright"), ("cold", "hot"))
NEGATION = "not"
TURNED_ROUND = 0.2
"""Share of contradictions of facts with an adjective that turn it round. It is what modules learn
last, at a moment that follows the seed, so that more of them make scores of seeds differ."""
ADJECTIVES = tuple(word for pair in OPPOSITES for word in pair)
NOUNS = tuple(noun for nouns in KINDS.values() for noun in nouns)
CONCEPTS = (*KINDS, *NOUNS, *VERBS, *ADJECTIVES, NEGATION)

_KIND_OF = {noun: kind for kind, nouns in KINDS.items() for noun in nouns}
_OPPOSITE = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}


@dataclass(frozen=True, slots=True)
class Fact:
    """Who does what to whom. Adjectives are optional (empty)."""

    agent: str
    verb: str
    object: str
    agent_is: str = ""
    object_is: str = ""
    negated: bool = False


def draw_fact(generator: Generator) -> Fact:
    """A random fact; each noun has an adjective half of the time."""
    return Fact(
        _one(generator, KINDS["animal"] + KINDS["person"]),
        _one(generator, VERBS),
        _one(generator, NOUNS),
        _one(generator, ADJECTIVES) if generator.random() < 0.5 else "",
        _one(generator, ADJECTIVES) if generator.random() < 0.5 else "",
    )


def entailed(fact: Fact, generator: Generator) -> Fact:
    """A fact that follows: a more general noun, or an adjective less."""
    changes = [replace(fact, agent=_KIND_OF[fact.agent], agent_is="")]
    changes.append(replace(fact, object=_KIND_OF[fact.object], object_is=""))
    if fact.agent_is:
        changes.append(replace(fact, agent_is=""))
    if fact.object_is:
        changes.append(replace(fact, object_is=""))
    return changes[int(generator.integers(len(changes)))]


def contradicting(fact: Fact, generator: Generator) -> Fact:
    """A fact that cannot hold too: negated, or in one of five an adjective turned round."""
    changes = []
    if fact.agent_is:
        changes.append(replace(fact, agent_is=_OPPOSITE[fact.agent_is]))
    if fact.object_is:
        changes.append(replace(fact, object_is=_OPPOSITE[fact.object_is]))
    if changes and generator.random() < TURNED_ROUND:
        return changes[int(generator.integers(len(changes)))]
    return replace(entailed(fact, generator), negated=True)


def unrelated(fact: Fact, generator: Generator) -> Fact:
    """A fact that may or may not hold: another verb and another object."""
    verb = _other(generator, VERBS, fact.verb)
    return replace(fact, verb=verb, object=_other(generator, NOUNS, fact.object), object_is="")


def turned_round(fact: Fact) -> Fact:
    """What one does to the other, the other does to the one."""
    return replace(fact, agent=fact.object, object=fact.agent)


def _one(generator: Generator, values: tuple[str, ...]) -> str:
    return values[int(generator.integers(len(values)))]


def _other(generator: Generator, values: tuple[str, ...], than: str) -> str:
    return _one(generator, tuple(value for value in values if value != than))


def concepts_of(fact: Fact, language: Language) -> list[str]:
    """The concepts of a fact in the language's word order."""
    agent = _phrase(fact.agent, fact.agent_is, language)
    patient = _phrase(fact.object, fact.object_is, language)
    verb = [NEGATION, fact.verb] if fact.negated else [fact.verb]
    parts = {"A": agent, "V": verb, "O": patient}
    return [concept for slot in language.order for concept in parts[slot]]


def _phrase(noun: str, adjective: str, language: Language) -> list[str]:
    if not adjective:
        return [noun]
    return [adjective, noun] if language.adjective_first else [noun, adjective]


def say(fact: Fact, language: Language, words: Mapping[str, str]) -> str:
    """A fact in words."""
    blank = " " if language.blanks else ""
    return blank.join(words[concept] for concept in concepts_of(fact, language))
