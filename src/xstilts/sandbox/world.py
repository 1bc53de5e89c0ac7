"""Write the sandbox's data files, in the layouts of the real distributions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from xstilts.files import write_json, write_text
from xstilts.sandbox.languages import LANGUAGES, SOURCE, Language, lexicon
from xstilts.sandbox.meaning import (
    CONCEPTS,
    Fact,
    contradicting,
    draw_fact,
    entailed,
    say,
    unrelated,
)
from xstilts.specs import Spec

LABELS = ("entailment", "neutral", "contradiction")


class SandboxSpec(Spec):
    """Sizes and seed of a sandbox world."""

    seed: int = 7
    train_rows: int = 6000
    dev_rows: int = 300
    test_rows: int = 300
    bitext_rows: int = 200
    text_rows: int = 3000
    pretraining_steps: int = 600


def build_data(folder: Path, spec: SandboxSpec) -> None:
    """Write every task's files and `world.json` below `folder`."""
    words = {lang.code: lexicon(lang, CONCEPTS, spec.seed) for lang in LANGUAGES}

    def generator(*salt: int) -> Generator:
        return np.random.default_rng([spec.seed, *salt])

    def put(fact: Fact, language: Language) -> str:
        return say(fact, language, words[language.code])

    source = next(lang for lang in LANGUAGES if lang.code == SOURCE)
    _write_nli(folder, spec, source, put, generator)
    _write_paraphrases(folder, spec, source, put, generator)
    _write_bitext(folder, spec, source, put, generator(5))
    for number, language in enumerate(LANGUAGES):
        draw = generator(6, number)
        lines = [put(draw_fact(draw), language) for _ in range(spec.text_rows)]
        write_text(folder / "mlm" / f"{language.code}.txt", "\n".join(lines) + "\n")
    write_json(folder / "world.json", _description(spec))


Put = Callable[[Fact, Language], str]
Draw = Callable[..., Generator]


def _description(spec: SandboxSpec) -> dict[str, Any]:
    codes = [language.code for language in LANGUAGES]
    others = [code for code in codes if code != SOURCE]
    return {
        "name": "sandbox",
        "note": "A simulation: its scores say nothing about real languages.",
        "seed": spec.seed,
        "source_language": SOURCE,
        "languages": [language.describe() for language in LANGUAGES],
        "tasks": {"xnli": {"languages": codes}, "tatoeba": {"languages": others}},
    }


def nli_pairs(count: int, generator: Generator) -> list[tuple[Fact, Fact, str]]:
    """Premises, hypotheses and labels, the labels as even as can be."""
    makers = {"entailment": entailed, "neutral": unrelated, "contradiction": contradicting}
    rows = []
    for number in range(count):
        label = LABELS[number % 3]
        premise = draw_fact(generator)
        rows.append((premise, makers[label](premise, generator), label))
    return [rows[i] for i in generator.permutation(count)]


def _write_nli(folder: Path, spec: SandboxSpec, source: Language, put: Put, draw: Draw) -> None:
    for salt, name, count in ((1, "train", spec.train_rows), (2, "dev_matched", spec.dev_rows)):
        rows = nli_pairs(count, draw(salt))
        lines = ["sentence1\tsentence2\tgold_label"]
        lines += [f"{put(p, source)}\t{put(h, source)}\t{label}" for p, h, label in rows]
        write_text(folder / "mnli" / f"{name}.tsv", "\n".join(lines) + "\n")
    for salt, name in ((3, "dev"), (4, "test")):
        rows = nli_pairs(spec.test_rows, draw(salt))
        for language in LANGUAGES:
            lines = [f"{put(p, language)}\t{put(h, language)}\t{label}" for p, h, label in rows]
            path = folder / "xnli" / f"{name}-{language.code}.tsv"
            write_text(path, "\n".join(lines) + "\n")


def _write_paraphrases(
    folder: Path, spec: SandboxSpec, source: Language, put: Put, draw: Draw
) -> None:
    """QQP: the same fact twice (`1`), or one with something changed (`0`)."""
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    for salt, name, count in ((8, "train", spec.train_rows), (9, "dev", spec.dev_rows)):
        generator = draw(salt)
        lines = [header]
        for number in range(count):
            fact = draw_fact(generator)
            same = generator.random() < 0.5
            other = fact if same else unrelated(fact, generator)
            texts = f"{put(fact, source)}\t{put(other, source)}"
            lines.append(f"{number}\t{2 * number}\t{2 * number + 1}\t{texts}\t{int(same)}")
        write_text(folder / "qqp" / f"{name}.tsv", "\n".join(lines) + "\n")


def _write_bitext(
    folder: Path, spec: SandboxSpec, source: Language, put: Put, generator: Generator
) -> None:
    facts: dict[Fact, None] = {}
    while len(facts) < spec.bitext_rows:
        facts[draw_fact(generator)] = None
    for language in LANGUAGES:
        if language.code == SOURCE:
            continue
        stem = folder / "tatoeba" / f"tatoeba.{language.code}-{SOURCE}"
        for side in (language, source):
            lines = "\n".join(put(fact, side) for fact in facts) + "\n"
            write_text(stem.with_name(f"{stem.name}.{side.code}"), lines)
