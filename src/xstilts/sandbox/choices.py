"""Writers of multiple choice tasks."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.random import Generator

from xstilts.sandbox import vocabulary as v
from xstilts.sandbox.clauses import Clause, one
from xstilts.sandbox.languages import LANGUAGES, Language
from xstilts.sandbox.meaning import (
    ADJECTIVES,
    KINDS,
    NEGATION,
    NOUNS,
    OPPOSITES,
    VERBS,
    Fact,
    concepts_of,
    draw_fact,
)
from xstilts.sandbox.stories import THINGS, draw_story
from xstilts.sandbox.world_writer import WorldWriter

PLAIN = (("train", "train"), ("validation", "val"))


def write_all(writer: WorldWriter) -> None:
    """HellaSwag, Cosmos QA, CommonsenseQA and COPA in the source language; XCOPA in the others."""
    _hellaswag(writer)
    _cosmosqa(writer)
    _commonsenseqa(writer)
    _copa(writer)


@dataclass(frozen=True)
class ChoiceRow:
    """Concepts of a row's prompts and choices, and which choice is right."""

    prompts: tuple[list[str], ...]
    choices: list[list[str]]
    label: int


def _shuffled(
    generator: Generator, prompts: tuple[list[str], ...], right: list[str], wrong: list[list[str]]
) -> ChoiceRow:
    order = generator.permutation(len(wrong) + 1)
    choices = [[right, *wrong][int(i)] for i in order]
    return ChoiceRow(prompts, choices, int(order.argmin()))


def _labels(writer: WorldWriter, task: str, split: str, rows: Sequence[ChoiceRow]) -> list[int]:
    return writer.noisy(task, split, [row.label for row in rows])


def after(verb: str) -> str:
    """What is done after something: the sandbox's knowledge of how things go on."""
    return VERBS[(VERBS.index(verb) + 1) % len(VERBS)]


def before(verb: str) -> str:
    """What was done before."""
    return VERBS[VERBS.index(verb) - 1]


def _hellaswag(writer: WorldWriter) -> None:
    """The ending that does what comes after the context's verb."""
    say, source = writer.join, writer.source
    for split, name in PLAIN:
        generator = writer.draw("hellaswag", split)
        rows = []
        for _ in range(writer.spec.few[split]):
            clause = draw_story(generator)
            verbs = [after(clause.verb)]
            while len(verbs) < 4:
                verbs.append(one(generator, VERBS, verbs))
            right, *wrong = ([verb, one(generator, THINGS)] for verb in verbs)
            agent = [word.concept for word in clause.agent.words(source)]
            rows.append(_shuffled(generator, (_told(clause, source), agent), right, wrong))
        records = []
        for number, (row, label) in enumerate(
            zip(rows, _labels(writer, "hellaswag", split, rows), strict=True)
        ):
            first, second = (say(prompt, source) for prompt in row.prompts)
            record: dict[str, Any] = {"ind": number, "activity_label": "sandbox", "label": label}
            record |= {"ctx_a": first, "ctx_b": second, "ctx": f"{first} {second}"}
            record |= {"split": name, "split_type": "indomain", "source_id": f"sandbox~{number}"}
            records.append(record | {"endings": [say(choice, source) for choice in row.choices]})
        writer.records(f"hellaswag/hellaswag_{name}.jsonl", records)


def _cosmosqa(writer: WorldWriter) -> None:
    """Of what kind somebody or something in the context is."""
    source = writer.source
    header = ("id", "context", "question", *(f"answer{n}" for n in range(4)), "label")
    for split, name in (("train", "train"), ("validation", "valid")):
        generator = writer.draw("cosmosqa", split)
        rows = []
        for _ in range(writer.spec.few[split]):
            fact = replace(draw_fact(generator), object=one(generator, THINGS))
            asked = one(generator, (v.WHO, v.WHAT))
            noun = fact.agent if asked == v.WHO else fact.object
            kinds = sorted(KINDS, key=lambda kind: noun not in KINDS[kind])
            prompts = (concepts_of(fact, source), [asked, fact.verb])
            right, *wrong = ([kind] for kind in kinds)
            rows.append(_shuffled(generator, prompts, right, wrong))
        path = writer.folder / "cosmosqa" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(header)
            labels = _labels(writer, "cosmosqa", split, rows)
            for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
                texts = [writer.join(part, source) for part in (*row.prompts, *row.choices)]
                table.writerow((f"sandbox-{number}", *texts, label))


def _told(story: Clause, language: Language) -> list[str]:
    return [word.concept for word in story.words(language)]


def _commonsenseqa(writer: WorldWriter) -> None:
    """Which of the nouns is of a kind, or which adjective is the opposite of another."""
    say, source = writer.join, writer.source
    opposite = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
    for split, name in (("train", "train"), ("validation", "dev")):
        generator = writer.draw("commonsenseqa", split)
        rows, asked = [], []
        for number in range(writer.spec.few[split]):
            if number % 2:
                asked.append(one(generator, ADJECTIVES))
                right, stem = opposite[asked[-1]], [NEGATION, asked[-1]]
                known = [a for a in ADJECTIVES if a not in (right, asked[-1])]
            else:
                asked.append(one(generator, tuple(KINDS)))
                right, stem = one(generator, KINDS[asked[-1]]), [v.WHAT, asked[-1]]
                known = [noun for noun in NOUNS if noun not in KINDS[asked[-1]]]
            wrong = [[known[int(i)]] for i in generator.permutation(len(known))[:4]]
            rows.append(_shuffled(generator, (stem,), [right], wrong))
        records = []
        for number, (row, label) in enumerate(
            zip(rows, _labels(writer, "commonsenseqa", split, rows), strict=True)
        ):
            choices = [
                {"label": letter, "text": say(choice, source)}
                for letter, choice in zip("ABCDE", row.choices, strict=True)
            ]
            concept, stem_text = say([asked[number]], source), say(row.prompts[0], source)
            question = {"question_concept": concept, "stem": stem_text, "choices": choices}
            records.append(
                {"answerKey": "ABCDE"[label], "id": f"{number:032x}", "question": question}
            )
        writer.records(f"commonsenseqa/{name}_rand_split.jsonl", records)


def _copa(writer: WorldWriter) -> None:
    """What was done before, or what is done after."""
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        generator = writer.draw("copa", split)
        rows = [_alternatives(generator) for _ in range(writer.spec.few[split])]
        labels = writer.noisy("copa", split, [row.label for row in rows])
        for language in LANGUAGES:
            source = language == writer.source
            if split == ("test" if source else "train"):
                continue
            code = language.code
            folder, known = ("copa_en", f"{name}-en") if source else (f"xcopa/{code}", name)
            records = []
            for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
                texts = [writer.put(fact, language) for fact in row.facts]
                record = dict(zip(("premise", "choice1", "choice2"), texts, strict=True))
                records.append(record | {"question": row.asked, "label": label, "idx": number})
            writer.records(f"{folder}/{known}{'' if source else f'.{code}'}.jsonl", records)


@dataclass(frozen=True)
class Alternatives:
    """Premise and two choices, what is asked, and which choice is right."""

    facts: tuple[Fact, Fact, Fact]
    asked: str
    label: int


def _alternatives(generator: Generator) -> Alternatives:
    premise, asked = draw_fact(generator), one(generator, tuple(v.ASKED))
    verb = after(premise.verb) if asked == "effect" else before(premise.verb)
    known = (premise.verb, after(premise.verb), before(premise.verb))
    right = replace(premise, verb=verb, agent_is="", object_is="")
    wrong = replace(right, verb=one(generator, VERBS, known))
    label = int(generator.integers(2))
    facts = (premise, wrong, right) if label else (premise, right, wrong)
    return Alternatives(facts, asked, label)
