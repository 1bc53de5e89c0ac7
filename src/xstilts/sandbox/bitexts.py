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
from xstilts.sandbox.world_writer import WorldWriter

T = TypeVar("T")
OTHERS = tuple(language for language in LANGUAGES if language.code != SOURCE)
TURNED = 4
"""Facts of Tatoeba to each that says the same words the other way round."""
ARTICLES = 30
"""Articles of the declaration, as in the original."""


def write_all(writer: WorldWriter) -> None:
    """Tatoeba, BUCC, NTREX, TICO-19 and UDHR."""
    _tatoeba(writer)
    _bucc(writer)
    _domains(writer)


def _different(draw: Callable[[], T], count: int) -> list[T]:
    found: dict[T, None] = {}
    while len(found) < count:
        found[draw()] = None
    return list(found)


def _tatoeba(writer: WorldWriter) -> None:
    """After every `TURNED` facts comes one turned round: order alone tells the two apart."""
    generator = writer.draw(5)
    count = writer.spec.bitext_rows
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
        for side in (language, writer.source):
            writer.lines(f"{stem}.{side.code}", (writer.put(fact, side) for fact in facts))


def _bucc(writer: WorldWriter) -> None:
    """Two texts of different clauses, half of which have their translation in the other."""
    for split, name in (("validation", "dev"), ("test", "test")):
        for language in OTHERS:
            generator = writer.draw("bucc2018", split, language.code)
            half = writer.spec.few[split] // 2
            clauses = _different(partial(draw_clause, generator), 3 * half)
            both, own, foreign = clauses[:half], clauses[half : 2 * half], clauses[2 * half :]
            stem = f"bucc2018/{language.code}-{SOURCE}.{name}"
            names: list[dict[Clause, str]] = []
            for side, known in ((language, both + own), (writer.source, both + foreign)):
                order = [known[int(i)] for i in generator.permutation(len(known))]
                ids = {c: f"{side.code}-{n:09}" for n, c in enumerate(order, 1)}
                writer.rows(f"{stem}.{side.code}", ((ids[c], writer.tell(c, side)) for c in order))
                names.append(ids)
            writer.rows(f"{stem}.gold", ((names[0][clause], names[1][clause]) for clause in both))


# ---------------------------------------------------------------------------------------- domains


def _domains(writer: WorldWriter) -> None:
    """News: clauses with names. Medicine: persons and food. Law: what holds for everybody."""
    rows = writer.spec.bitext_rows
    news = writer.draw("ntrex")
    _bitext(writer, "ntrex/newstest2019-{}.{}.txt", _different(partial(_news, news), rows))
    medicine = writer.draw("tico19")
    _bitext(writer, "tico19/tico19{}.{}.txt", _different(partial(_medical, medicine), rows))
    law = writer.draw("udhr")
    articles = [[_legal(law) for _ in range(2)] for _ in range(ARTICLES)]
    for language in LANGUAGES:
        writer.lines(f"udhr/udhr_{language.code}.xml", _declaration(writer, articles, language))


def _bitext(writer: WorldWriter, path: str, clauses: Sequence[Clause]) -> None:
    for language in LANGUAGES:
        side = ""
        if "ntrex" in path:
            side = "src" if language == writer.source else "ref"
        lines = (writer.tell(clause, language) for clause in clauses)
        writer.lines(path.format(side, language.code), lines)


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
    writer: WorldWriter, articles: Sequence[Sequence[Clause]], language: Language
) -> list[str]:
    lines = ['<?xml version="1.0" encoding="utf-8"?>']
    lines.append(
        f'<udhr iso639-3="{language.code}" n="{language.name}" xml:lang="{language.code}">'
    )
    for number, clauses in enumerate(articles, 1):
        text = "".join(f"<para>{writer.tell(clause, language)}</para>" for clause in clauses)
        lines.append(f'<article number="{number}">{text}</article>')
    return [*lines, "</udhr>"]


# ------------------------------------------------------------------------------------------- text


def write_text(writer: WorldWriter) -> None:
    """Text to pretrain on: facts, two related ones in neighbouring lines; then stories.

    Some of it is held out for perplexity.
    """
    count = writer.spec.text_rows
    for number, language in enumerate(LANGUAGES):
        draw = writer.draw(6, number)
        facts = [fact for _ in range(-(-count // 2)) for fact in _neighbours(draw)]
        lines = [writer.put(fact, language) for fact in facts[:count]]
        draw = writer.draw("stories", number)
        lines += [_told(writer, draw, language) for _ in range(count // 2)]
        writer.lines(f"mlm/{language.code}.txt", lines)
        held = writer.draw("held out", number)
        rows = writer.spec.few["validation"]
        writer.lines(
            f"mlm/dev-{language.code}.txt", (_told(writer, held, language) for _ in range(rows))
        )


def _neighbours(generator: Generator) -> tuple[Fact, Fact]:
    """A fact, and the same again or what follows from it, denies it or is beside it."""
    fact = draw_fact(generator)
    if generator.random() < 0.4:
        return fact, fact
    change = (entailed, contradicting, unrelated)[int(generator.integers(3))]
    return fact, change(fact, generator)


def _told(writer: WorldWriter, generator: Generator, language: Language) -> str:
    """A clause, or a story with a question and its answer."""
    if generator.random() < 0.5:
        return writer.tell(draw_clause(generator), language)
    clause = draw_story(generator)
    question = ask(generator, clause)
    answer = part_of(clause, question.word)
    assert answer is not None
    words = [*clause.words(language), *answer.words(language)]
    size = len(words) - len(answer.words(language))
    told = [word.concept for word in words]
    return writer.join([*told[:size], *question.concepts(language), *told[size:]], language)
