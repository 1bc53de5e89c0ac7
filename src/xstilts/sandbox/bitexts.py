"""Writers of aligned and of unlabelled text: Tatoeba, BUCC, bitexts of three domains, MLM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from numpy.random import Generator

from xstilts.sandbox import vocabulary as v
from xstilts.sandbox.clauses import (
    AGENTS,
    Clause,
    Phrase,
    Word,
    draw_clause,
    draw_name,
    draw_noun,
    one,
)
from xstilts.sandbox.languages import LANGUAGES, SOURCE, Language
from xstilts.sandbox.making import Making
from xstilts.sandbox.meaning import (
    KINDS,
    Fact,
    contradicting,
    draw_fact,
    entailed,
    turned_round,
    unrelated,
)
from xstilts.sandbox.stories import ask, draw_story, part_of

T = TypeVar("T")
OTHERS = tuple(language for language in LANGUAGES if language.code != SOURCE)
TURNED = 4
"""Facts of Tatoeba to each that says the same words the other way round."""
ARTICLES = 30
"""Articles of the declaration, as in the original."""


def write_all(making: Making) -> None:
    """Tatoeba, BUCC, NTREX, TICO-19 and UDHR."""
    _tatoeba(making)
    _bucc(making)
    _domains(making)


def _different(draw: Callable[[], T], count: int) -> list[T]:
    found: dict[T, None] = {}
    while len(found) < count:
        found[draw()] = None
    return list(found)


def _tatoeba(making: Making) -> None:
    """After every `TURNED` facts comes one turned round: order alone tells the two apart."""
    generator = making.draw(5)
    count = making.spec.bitext_rows
    found: dict[Fact, None] = {}
    while len(found) < count:
        for _ in range(TURNED):
            fact = draw_fact(generator)
            fact = replace(fact, object=one(generator, AGENTS, (fact.agent,)))
            found[fact] = None
        found[turned_round(fact)] = None
    facts = list(found)[:count]
    for language in OTHERS:
        stem = f"tatoeba/tatoeba.{language.code}-{SOURCE}"
        for side in (language, making.source):
            making.lines(f"{stem}.{side.code}", (making.put(fact, side) for fact in facts))


def _bucc(making: Making) -> None:
    """Two texts of different clauses, half of which have their translation in the other."""
    for split, name in (("validation", "dev"), ("test", "test")):
        for language in OTHERS:
            generator = making.draw("bucc2018", split, language.code)
            half = making.spec.few[split] // 2
            clauses = _different(partial(draw_clause, generator), 3 * half)
            both, own, foreign = clauses[:half], clauses[half : 2 * half], clauses[2 * half :]
            stem = f"bucc2018/{language.code}-{SOURCE}.{name}"
            names: list[dict[Clause, str]] = []
            for side, known in ((language, both + own), (making.source, both + foreign)):
                order = [known[int(i)] for i in generator.permutation(len(known))]
                ids = {c: f"{side.code}-{n:09}" for n, c in enumerate(order, 1)}
                making.rows(f"{stem}.{side.code}", ((ids[c], making.tell(c, side)) for c in order))
                names.append(ids)
            making.rows(f"{stem}.gold", ((names[0][clause], names[1][clause]) for clause in both))


# ---------------------------------------------------------------------------------------- domains


def _domains(making: Making) -> None:
    """News: clauses with names. Medicine: persons and food. Law: what holds for everybody."""
    rows = making.spec.bitext_rows
    news = making.draw("ntrex")
    _bitext(making, "ntrex/newstest2019-{}.{}.txt", _different(partial(_news, news), rows))
    medicine = making.draw("tico19")
    _bitext(making, "tico19/tico19{}.{}.txt", _different(partial(_medical, medicine), rows))
    law = making.draw("udhr")
    articles = [[_legal(law) for _ in range(2)] for _ in range(ARTICLES)]
    for language in LANGUAGES:
        making.lines(f"udhr/udhr_{language.code}.xml", _declaration(making, articles, language))


def _bitext(making: Making, path: str, clauses: Sequence[Clause]) -> None:
    for language in LANGUAGES:
        side = ""
        if "ntrex" in path:
            side = "src" if language == making.source else "ref"
        lines = (making.tell(clause, language) for clause in clauses)
        making.lines(path.format(side, language.code), lines)


def _news(generator: Generator) -> Clause:
    agent = draw_name(generator, one(generator, ("PER", "ORG")))
    place = draw_name(generator, "LOC")
    return replace(draw_clause(generator), agent=agent, place=place, adposition="in")


def _medical(generator: Generator) -> Clause:
    agent = draw_noun(generator, KINDS["person"])
    return replace(
        draw_clause(generator), agent=agent, object=draw_noun(generator, KINDS["food"]), place=None
    )


def _legal(generator: Generator) -> Clause:
    every = Word("every", "DET", "NP/N")
    agent = Phrase(Word(one(generator, tuple(KINDS)), "NOUN", "N"), determiner=every)
    patient = draw_noun(generator, KINDS["tool"])
    adverb = one(generator, v.ADVERBS)
    return replace(draw_clause(generator), agent=agent, object=patient, adverb=adverb)


def _declaration(
    making: Making, articles: Sequence[Sequence[Clause]], language: Language
) -> list[str]:
    lines = ['<?xml version="1.0" encoding="utf-8"?>']
    lines.append(
        f'<udhr iso639-3="{language.code}" n="{language.name}" xml:lang="{language.code}">'
    )
    for number, clauses in enumerate(articles, 1):
        text = "".join(f"<para>{making.tell(clause, language)}</para>" for clause in clauses)
        lines.append(f'<article number="{number}">{text}</article>')
    return [*lines, "</udhr>"]


# ------------------------------------------------------------------------------------------- text


def write_text(making: Making) -> None:
    """Text to pretrain on: facts, two related ones in neighbouring lines; then stories.

    Some of it is held out for perplexity.
    """
    count = making.spec.text_rows
    for number, language in enumerate(LANGUAGES):
        draw = making.draw(6, number)
        facts = [fact for _ in range(-(-count // 2)) for fact in _neighbours(draw)]
        lines = [making.put(fact, language) for fact in facts[:count]]
        draw = making.draw("stories", number)
        lines += [_told(making, draw, language) for _ in range(count // 2)]
        making.lines(f"mlm/{language.code}.txt", lines)
        held = making.draw("held out", number)
        rows = making.spec.few["validation"]
        making.lines(
            f"mlm/dev-{language.code}.txt", (_told(making, held, language) for _ in range(rows))
        )


def _neighbours(generator: Generator) -> tuple[Fact, Fact]:
    """A fact, and the same again or what follows from it, denies it or is beside it."""
    fact = draw_fact(generator)
    if generator.random() < 0.4:
        return fact, fact
    change = (entailed, contradicting, unrelated)[int(generator.integers(3))]
    return fact, change(fact, generator)


def _told(making: Making, generator: Generator, language: Language) -> str:
    """A clause, or a story with a question and its answer."""
    if generator.random() < 0.5:
        return making.tell(draw_clause(generator), language)
    clause = draw_story(generator)
    question = ask(generator, clause)
    answer = part_of(clause, question.word)
    assert answer is not None
    words = [*clause.words(language), *answer.words(language)]
    size = len(words) - len(answer.words(language))
    told = [word.concept for word in words]
    return making.join([*told[:size], *question.concepts(language), *told[size:]], language)
