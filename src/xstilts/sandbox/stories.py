"""Short stories of two clauses, and questions about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from numpy.random import Generator

from xstilts.sandbox import vocabulary as v
from xstilts.sandbox.clauses import AGENTS, Clause, Phrase, draw_name, draw_noun, one
from xstilts.sandbox.languages import Language
from xstilts.sandbox.meaning import NOUNS, VERBS

ASKED = {v.WHO: "agent", v.WHAT: "object", v.WHERE: "place"}
"""Question word to the part of a clause that answers it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a story.

    Attributes:
        word: `who`, `what` or `where`.
        verb: The verb asked with.
        agent: Who is asked about; None with `who`.
        clause: Number of the clause that answers; -1 when none does.
    """

    word: str
    verb: str
    agent: Phrase | None
    clause: int

    def concepts(self, language: Language) -> list[str]:
        """The question in the language's order, question word first."""
        agent = [w.concept for w in self.agent.words(language)] if self.agent else []
        verb_first = language.order.startswith("V")
        rest = [self.verb, *agent] if verb_first else [*agent, self.verb]
        return [self.word, *rest]


Story = tuple[Clause, ...]


def draw_story(generator: Generator, clauses: int = 2) -> Story:
    """Clauses that share no noun, no name and no verb; each has an object and a place."""
    used: set[str] = set()
    story = []
    for _ in range(clauses):
        while True:
            clause = _full(generator)
            concepts = {clause.verb}
            for phrase in (clause.agent, clause.object, clause.place):
                assert phrase is not None
                modifier = phrase.modifier
                concepts |= {phrase.head.concept} | ({modifier.concept} if modifier else set())
            if not concepts & used:
                break
        used |= concepts
        story.append(clause)
    return tuple(story)


def _full(generator: Generator) -> Clause:
    if generator.random() < 0.5:
        agent = draw_name(generator, "PER")
    else:
        agent = draw_noun(generator, AGENTS, bare=True)
    patient = replace(draw_noun(generator, [n for n in NOUNS if n not in AGENTS]), determiner=None)
    place = draw_name(generator, "LOC")
    return Clause(agent, one(generator, VERBS), patient, place)


def ask(generator: Generator, story: Story, *, answerable: bool = True) -> Question:
    """A question about one clause, or about somebody whom the story does not tell of."""
    number = int(generator.integers(len(story)))
    word = one(generator, tuple(ASKED))
    clause = story[number]
    if not answerable:
        clause = draw_story(generator, 1)[0]
        while any(clause.verb == c.verb or clause.agent.head == c.agent.head for c in story):
            clause = draw_story(generator, 1)[0]
        number = -1
    return Question(word, clause.verb, None if word == v.WHO else clause.agent, number)


def phrase_of(clause: Clause, word: str) -> Phrase:
    """What answers a question with `word` about the clause."""
    phrase: Phrase | None = getattr(clause, ASKED[word])
    assert phrase is not None
    return phrase


def concepts_of(story: Story, language: Language) -> list[str]:
    """The whole story in the language's order."""
    return [word.concept for clause in story for word in clause.words(language)]


def span_of(story: Story, number: int, part: str, language: Language) -> tuple[int, int]:
    """First and last word of a part of a clause, counted over the story."""
    at = 0
    for index, clause in enumerate(story):
        for name, words in clause.parts(language):
            if index == number and name == part:
                return at, at + len(words) - 1
            at += len(words)
    raise AssertionError(part)
