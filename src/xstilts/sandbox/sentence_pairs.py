"""Writers of classification tasks: inference, paraphrases, sentiment."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numpy.random import Generator

from xstilts.sandbox import vocabulary as v
from xstilts.sandbox.clauses import AGENTS, one
from xstilts.sandbox.languages import LANGUAGES, Language
from xstilts.sandbox.making import Making
from xstilts.sandbox.meaning import (
    ADJECTIVES,
    NEGATION,
    NOUNS,
    VERBS,
    Fact,
    contradicting,
    draw_fact,
    entailed,
    turned_round,
    unrelated,
)

LABELS = ("entailment", "neutral", "contradiction")
COLUMNS = ("sentence1", "sentence2", "gold_label")

Pairs = list[tuple[Fact, Fact, str]]


def write_all(making: Making) -> None:
    """MNLI, SNLI, ANLI, counterfactual SNLI, XNLI, QQP, PAWS-X, SST-2 and NusaX."""
    _mnli_and_xnli(making)
    _snli(making)
    _anli(making)
    _cad_nli(making)
    _qqp(making)
    _pawsx(making)
    _sentiment(making)


# -------------------------------------------------------------------------------------- inference


def nli_pairs(count: int, generator: Generator) -> Pairs:
    """Premises, hypotheses and labels, the labels as even as can be."""
    makers = {"entailment": entailed, "neutral": unrelated, "contradiction": contradicting}
    rows = []
    for number in range(count):
        label = LABELS[number % 3]
        premise = draw_fact(generator)
        rows.append((premise, makers[label](premise, generator), label))
    return [rows[i] for i in generator.permutation(count)]


def _said(making: Making, pairs: Pairs, language: Language, task: str, split: str) -> Any:
    labels = making.noisy(task, split, [label for _, _, label in pairs])
    for (premise, hypothesis, _), label in zip(pairs, labels, strict=True):
        yield making.put(premise, language), making.put(hypothesis, language), label


def _mnli_and_xnli(making: Making) -> None:
    spec, source = making.spec, making.source
    files = (("train", "train", spec.train_rows), ("validation", "dev_matched", spec.dev_rows))
    for salt, (split, name, count) in enumerate(files, 1):
        rows = _said(making, nli_pairs(count, making.draw(salt)), source, "mnli", split)
        making.rows(f"mnli/{name}.tsv", [COLUMNS, *rows])
    for salt, name in ((3, "dev"), (4, "test")):
        pairs = nli_pairs(spec.test_rows, making.draw(salt))
        for language in LANGUAGES:
            rows = _said(making, pairs, language, "xnli", name)
            making.rows(f"xnli/{name}-{language.code}.tsv", rows)
    pairs = nli_pairs(spec.few["train"], making.draw("xnli"))
    for language in LANGUAGES:
        rows = _said(making, pairs, language, "xnli", "train")
        making.rows(f"xnli/train-{language.code}.tsv", rows)


def _snli(making: Making) -> None:
    """Every fiftieth row comes again without an agreed label, as in the original."""
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        pairs = nli_pairs(making.spec.few[split], making.draw("snli", split))
        records = []
        for number, row in enumerate(_said(making, pairs, making.source, "snli", split)):
            records.append(dict(zip(COLUMNS, row, strict=True)) | {"pairID": f"{number}r1"})
            if number % 50 == 49:
                records.append(records[-1] | {"gold_label": "-", "pairID": f"{number}r2"})
        making.records(f"snli/snli_1.0_{name}.jsonl", records)


def _anli(making: Making) -> None:
    """Three rounds; the context of round n holds n facts, one of which decides."""
    for number in (1, 2, 3):
        for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
            draw = making.draw("anli", number, split)
            pairs = nli_pairs(-(-making.spec.few[split] // 3), draw)
            records = []
            for row, (premise, hypothesis, label) in enumerate(
                _said(making, pairs, making.source, "anli", split)
            ):
                others = [_apart(pairs[row][0], draw) for _ in range(number - 1)]
                facts = [premise, *(making.put(fact, making.source) for fact in others)]
                context = f" {v.POINT} ".join(facts[i] for i in draw.permutation(len(facts)))
                records.append({"uid": f"r{number}-{row}", "context": context, "label": label[0]})
                records[-1]["hypothesis"] = hypothesis
            making.records(f"anli/R{number}/{name}.jsonl", records)


def _apart(fact: Fact, generator: Generator) -> Fact:
    """Another fact with nothing in common with `fact`."""
    used = (fact.agent, fact.object)
    other = replace(draw_fact(generator), agent=one(generator, AGENTS, used))
    other = replace(other, verb=one(generator, VERBS, (fact.verb,)))
    return replace(other, object=one(generator, NOUNS, (*used, other.agent)))


def _cad_nli(making: Making) -> None:
    """The twin of SNLI: the same generator and row counts, other draws."""
    folders = ("original", "revised_combined")
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        pairs = nli_pairs(making.spec.few[split], making.draw("cad_nli", split))
        rows = list(_said(making, pairs, making.source, "cad_nli", split))
        half = len(rows) // 2
        for folder, part in zip(folders, (rows[:half], rows[half:]), strict=True):
            making.rows(f"cad_nli/{folder}/{name}.tsv", [COLUMNS, *part])


# ------------------------------------------------------------------------------------ paraphrases


def _qqp(making: Making) -> None:
    """QQP: the same fact twice (`1`), or one with something changed (`0`)."""
    header = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
    spec, source = making.spec, making.source
    for salt, name, count in ((8, "train", spec.train_rows), (9, "dev", spec.dev_rows)):
        generator = making.draw(salt)
        pairs, same = [], []
        for _ in range(count):
            fact = draw_fact(generator)
            same.append(generator.random() < 0.5)
            pairs.append((fact, fact if same[-1] else unrelated(fact, generator)))
        labels = making.noisy("qqp", name, same)
        rows = [
            (n, 2 * n, 2 * n + 1, making.put(a, source), making.put(b, source), int(label))
            for n, ((a, b), label) in enumerate(zip(pairs, labels, strict=True))
        ]
        making.rows(f"qqp/{name}.tsv", [header, *rows])


def _pawsx(making: Making) -> None:
    """PAWS-X: the same, or said more generally; not so: turned round, denied, or about others."""
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        generator = making.draw("pawsx", split)
        pairs = [_paws_pair(generator, n) for n in range(making.spec.few[split])]
        pairs = [pairs[int(i)] for i in generator.permutation(len(pairs))]
        labels = making.noisy("pawsx", split, [label for _, _, label in pairs])
        for language in LANGUAGES:
            rows = [
                (making.put(a, language), making.put(b, language), label)
                for (a, b, _), label in zip(pairs, labels, strict=True)
            ]
            making.rows(f"pawsx/{name}-{language.code}.tsv", rows)


def _paws_pair(generator: Generator, number: int) -> tuple[Fact, Fact, str]:
    fact = draw_fact(generator)
    fact = replace(fact, object=one(generator, AGENTS, (fact.agent,)))
    kind = generator.random()
    if number % 2:
        return fact, fact if kind < 0.5 else entailed(fact, generator), "1"
    if kind < 0.15:
        return fact, turned_round(fact), "0"
    return fact, contradicting(fact, generator) if kind < 0.55 else _apart(fact, generator), "0"


# -------------------------------------------------------------------------------------- sentiment


def _sentiment(making: Making) -> None:
    """SST-2 in the source language; NusaX in all, the same sentences, with neutral ones."""
    for split, name in (("train", "train"), ("validation", "dev")):
        rows = _opinions(making, "sst2", split, ("negative", "positive"))
        numbers = {"negative": 0, "positive": 1}
        lines = [(making.join(said(making.source), making.source), numbers[k]) for said, k in rows]
        making.rows(f"sst2/{name}.tsv", [("sentence", "label"), *lines])
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        rows = _opinions(making, "nusax_senti", split, ("negative", "neutral", "positive"))
        for language in LANGUAGES:
            path = making.folder / "nusax_senti" / language.code / f"{name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(("id", "text", "label"))
                for number, (said, label) in enumerate(rows):
                    table.writerow((number, making.join(said(language), language), label))


Said = Callable[[Language], list[str]]


def _opinions(
    making: Making, task: str, split: str, labels: tuple[str, ...]
) -> list[tuple[Said, str]]:
    """What is said in a language, and the opinion; a negation turns it round."""
    generator = making.draw(task, split)
    found: list[tuple[Said, str]] = []
    for number in range(making.spec.few[split]):
        label = labels[number % len(labels)]
        negated = label != "neutral" and generator.random() < 0.15
        good = (label == "positive") != negated
        words = ADJECTIVES if label == "neutral" else (v.GOOD if good else v.BAD)
        found.append((_opinion(generator, one(generator, words), negated), label))
    found = [found[int(i)] for i in generator.permutation(len(found))]
    said = [what for what, _ in found]
    return list(zip(said, making.noisy(task, split, [k for _, k in found]), strict=True))


def _opinion(generator: Generator, judgement: str, negated: bool) -> Said:
    agent, verb, thing = one(generator, AGENTS), one(generator, VERBS), one(generator, NOUNS)

    def said(language: Language) -> list[str]:
        judged = [NEGATION, judgement] if negated else [judgement]
        thing_words = [*judged, thing] if language.adjective_first else [thing, *judged]
        parts = {"A": [agent], "V": [verb], "O": thing_words}
        return [concept for slot in language.order for concept in parts[slot]]

    return said
