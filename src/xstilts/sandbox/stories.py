"""Short stories of one clause, and questions about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from numpy.random import Generator

from xstilts.sandbox import vocabulary as v
from xstilts.sandbox.clauses import AGENTS, Clause, Phrase, draw_name, draw_noun, one
from xstilts.sandbox.languages import Language
from xstilts.sandbox.meaning import NOUNS, VERBS

ASKED = {v.WHO: "agent", v.WHAT: "object", v.WHERE: "place"}
"""Question word to the part of a clause that answers it."""
THINGS = tuple(noun for noun in NOUNS if noun not in AGENTS)


@dataclass(frozen=True, slots=True)
class Question:
    """A question: `who`, `what` or `where`; the verb; whom it is about, but with `who`."""

    word: str
    verb: str
    agent: Phrase | None

    def concepts(self, language: Language) -> list[str]:
        """The question in the language's order, question word first."""
        agent = [w.concept for w in self.agent.words(language)] if self.agent else []
        verb_first = language.order.startswith("V")
        return [self.word, *([self.verb, *agent] if verb_first else [*agent, self.verb])]


def draw_story(generator: Generator) -> Clause:
    """A clause with a person or an animal, a thing and a place."""
    if generator.random() < 0.5:
        agent = draw_name(generator, "PER")
    else:
        agent = draw_noun(generator, AGENTS, bare=True)
    thing = replace(draw_noun(generator, THINGS), determiner=None)
    return Clause(agent, one(generator, VERBS), thing, draw_name(generator, "LOC"))


def shortened(generator: Generator, story: Clause) -> Clause:
    """The story, half of the time without its thing and half of the time without its place."""
    chance = generator.random(2)
    if chance[0] < 0.5:
        story = replace(story, object=None)
    return replace(story, place=None) if chance[1] < 0.5 else story


def ask(generator: Generator, story: Clause) -> Question:
    """A question about the story; nothing answers it when that part is missing."""
    word = one(generator, tuple(ASKED))
    return Question(word, story.verb, None if word == v.WHO else story.agent)


def part_of(story: Clause, word: str) -> Phrase | None:
    """What answers a question with `word`, if anything does."""
    phrase: Phrase | None = getattr(story, ASKED[word])
    return phrase


def span_of(story: Clause, word: str, language: Language) -> tuple[int, int] | None:
    """First and last word, in the language's order, of what answers a question with `word`."""
    at = 0
    for name, words in story.parts(language):
        if name == ASKED[word]:
            return at, at + len(words) - 1
        at += len(words)
    return None
