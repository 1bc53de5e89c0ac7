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
from xstilts.sandbox.world_writer import WorldWriter

LABELS = ("entailment", "neutral", "contradiction")
COLUMNS = ("sentence1", "sentence2", "gold_label")

Pairs = list[tuple[Fact, Fact, str]]


def write_all(writer: WorldWriter) -> None:
    """MNLI, SNLI, ANLI, counterfactual SNLI, XNLI, QQP, PAWS-X, SST-2 and NusaX."""
    _mnli_and_xnli(writer)
    _snli(writer)
    _anli(writer)
    _cad_nli(writer)
    _qqp(writer)
    _pawsx(writer)
    _sentiment(writer)


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


def _said(writer: WorldWriter, pairs: Pairs, language: Language, task: str, split: str) -> Any:
    labels = writer.noisy(task, split, [label for _, _, label in pairs])
    for (premise, hypothesis, _), label in zip(pairs, labels, strict=True):
        yield writer.put(premise, language), writer.put(hypothesis, language), label


def _mnli_and_xnli(writer: WorldWriter) -> None:
    spec, source = writer.spec, writer.source
    files = (("train", "train", spec.train_rows), ("validation", "dev_matched", spec.dev_rows))
    for salt, (split, name, count) in enumerate(files, 1):
        rows = _said(writer, nli_pairs(count, writer.draw(salt)), source, "mnli", split)
        writer.rows(f"mnli/{name}.tsv", [COLUMNS, *rows])
    for salt, name in ((3, "dev"), (4, "test")):
        pairs = nli_pairs(spec.test_rows, writer.draw(salt))
        for language in LANGUAGES:
            rows = _said(writer, pairs, language, "xnli", name)
            writer.rows(f"xnli/{name}-{language.code}.tsv", rows)
    pairs = nli_pairs(spec.few["train"], writer.draw("xnli"))
    for language in LANGUAGES:
        rows = _said(writer, pairs, language, "xnli", "train")
        writer.rows(f"xnli/train-{language.code}.tsv", rows)


def _snli(writer: WorldWriter) -> None:
    """Every fiftieth row comes again without an agreed label, as in the original."""
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        pairs = nli_pairs(writer.spec.few[split], writer.draw("snli", split))
        records = []
        for number, row in enumerate(_said(writer, pairs, writer.source, "snli", split)):
            records.append(dict(zip(COLUMNS, row, strict=True)) | {"pairID": f"{number}r1"})
            if number % 50 == 49:
                records.append(records[-1] | {"gold_label": "-", "pairID": f"{number}r2"})
        writer.records(f"snli/snli_1.0_{name}.jsonl", records)


def _anli(writer: WorldWriter) -> None:
    """Three rounds; the context of round n holds n facts, one of which decides."""
    for number in (1, 2, 3):
        for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
            draw = writer.draw("anli", number, split)
            pairs = nli_pairs(-(-writer.spec.few[split] // 3), draw)
            records = []
            for row, (premise, hypothesis, label) in enumerate(
                _said(writer, pairs, writer.source, "anli", split)
            ):
                others = [_apart(pairs[row][0], draw) for _ in range(number - 1)]
                facts = [premise, *(writer.put(fact, writer.source) for fact in others)]
                context = f" {v.POINT} ".join(facts[i] for i in draw.permutation(len(facts)))
                records.append({"uid": f"r{number}-{row}", "context": context, "label": label[0]})
                records[-1]["hypothesis"] = hypothesis
            writer.records(f"anli/R{number}/{name}.jsonl", records)


def _apart(fact: Fact, generator: Generator) -> Fact:
    """Another fact with nothing in common with `fact`."""
    used = (fact.agent, fact.object)
    other = replace(draw_fact(generator), agent=one(generator, AGENTS, used))
    other = replace(other, verb=one(generator, VERBS, (fact.verb,)))
    return replace(other, object=one(generator, NOUNS, (*used, other.agent)))


def _cad_nli(writer: WorldWriter) -> None:
    """The twin of SNLI: the same generator and row counts, other draws."""
    folders = ("original", "revised_combined")
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        pairs = nli_pairs(writer.spec.few[split], writer.draw("cad_nli", split))
        rows = list(_said(writer, pairs, writer.source, "cad_nli", split))
        half = len(rows) // 2
        for folder, part in zip(folders, (rows[:half], rows[half:]), strict=True):
            writer.rows(f"cad_nli/{folder}/{name}.tsv", [COLUMNS, *part])


# ------------------------------------------------------------------------------------ paraphrases


def _qqp(writer: WorldWriter) -> None:
    """QQP: the same fact twice (`1`), or one with something changed (`0`)."""
    header = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
    spec, source = writer.spec, writer.source
    for salt, name, count in ((8, "train", spec.train_rows), (9, "dev", spec.dev_rows)):
        generator = writer.draw(salt)
        pairs, same = [], []
        for _ in range(count):
            fact = draw_fact(generator)
            same.append(generator.random() < 0.5)
            pairs.append((fact, fact if same[-1] else unrelated(fact, generator)))
        labels = writer.noisy("qqp", name, same)
        rows = [
            (n, 2 * n, 2 * n + 1, writer.put(a, source), writer.put(b, source), int(label))
            for n, ((a, b), label) in enumerate(zip(pairs, labels, strict=True))
        ]
        writer.rows(f"qqp/{name}.tsv", [header, *rows])


def _pawsx(writer: WorldWriter) -> None:
    """PAWS-X: the same, or said more generally; not so: turned round, denied, or about others."""
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        generator = writer.draw("pawsx", split)
        pairs = [_paws_pair(generator, n) for n in range(writer.spec.few[split])]
        pairs = [pairs[int(i)] for i in generator.permutation(len(pairs))]
        labels = writer.noisy("pawsx", split, [label for _, _, label in pairs])
        for language in LANGUAGES:
            rows = [
                (writer.put(a, language), writer.put(b, language), label)
                for (a, b, _), label in zip(pairs, labels, strict=True)
            ]
            writer.rows(f"pawsx/{name}-{language.code}.tsv", rows)


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


def _sentiment(writer: WorldWriter) -> None:
    """SST-2 in the source language; NusaX in all, the same sentences, with neutral ones."""
    for split, name in (("train", "train"), ("validation", "dev")):
        rows = _opinions(writer, "sst2", split, ("negative", "positive"))
        numbers = {"negative": 0, "positive": 1}
        lines = [(writer.join(said(writer.source), writer.source), numbers[k]) for said, k in rows]
        writer.rows(f"sst2/{name}.tsv", [("sentence", "label"), *lines])
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        rows = _opinions(writer, "nusax_senti", split, ("negative", "neutral", "positive"))
        for language in LANGUAGES:
            path = writer.folder / "nusax_senti" / language.code / f"{name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(("id", "text", "label"))
                for number, (said, label) in enumerate(rows):
                    table.writerow((number, writer.join(said(language), language), label))


Said = Callable[[Language], list[str]]


def _opinions(
    writer: WorldWriter, task: str, split: str, labels: tuple[str, ...]
) -> list[tuple[Said, str]]:
    """What is said in a language, and the opinion; a negation turns it round."""
    generator = writer.draw(task, split)
    found: list[tuple[Said, str]] = []
    for number in range(writer.spec.few[split]):
        label = labels[number % len(labels)]
        negated = label != "neutral" and generator.random() < 0.15
        good = (label == "positive") != negated
        words = ADJECTIVES if label == "neutral" else (v.GOOD if good else v.BAD)
        found.append((_opinion(generator, one(generator, words), negated), label))
    found = [found[int(i)] for i in generator.permutation(len(found))]
    said = [what for what, _ in found]
    return list(zip(said, writer.noisy(task, split, [k for _, k in found]), strict=True))


def _opinion(generator: Generator, judgement: str, negated: bool) -> Said:
    agent, verb, thing = one(generator, AGENTS), one(generator, VERBS), one(generator, NOUNS)

    def said(language: Language) -> list[str]:
        judged = [NEGATION, judgement] if negated else [judgement]
        thing_words = [*judged, thing] if language.adjective_first else [thing, *judged]
        parts = {"A": [agent], "V": [verb], "O": thing_words}
        return [concept for slot in language.order for concept in parts[slot]]

    return said
