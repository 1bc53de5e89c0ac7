"""Writers of tagging tasks: parts of speech, entities, CCG supertags."""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.sandbox.clauses import Clause, draw_clause, entity_tags
from xstilts.sandbox.languages import LANGUAGES, Language
from xstilts.sandbox.world_writer import WorldWriter

FILES = (("train", "train"), ("validation", "dev"), ("test", "test"))


def write_all(writer: WorldWriter) -> None:
    """UD parts of speech and PAN-X in all languages, CCG in the source language."""
    for task in ("udpos", "panx"):
        for split, name in FILES:
            clauses = _clauses(writer, task, split)
            chosen = (writer.source,) if split == "train" else LANGUAGES
            for language in chosen:
                sentences = [_tagged(writer, c, language, task, split) for c in clauses]
                sentences = _noisy(writer, task, split, sentences)
                lines = [line for rows in sentences for line in ["\t".join(r) for r in rows] + [""]]
                writer.lines(f"{task}/{name}-{language.code}.tsv", lines)
    for split, name in FILES:
        clauses = _clauses(writer, "ccg", split)
        sentences = [_tagged(writer, clause, writer.source, "ccg", split) for clause in clauses]
        sentences = _noisy(writer, "ccg", split, sentences)
        writer.lines(f"ccg/{name}.ccg", (" ".join("|".join(r) for r in s) for s in sentences))


Words = list[tuple[str, str]]


def _clauses(writer: WorldWriter, task: str, split: str) -> list[Clause]:
    generator = writer.draw(task, split)
    return [draw_clause(generator) for _ in range(writer.spec.few[split])]


def _tagged(
    writer: WorldWriter, clause: Clause, language: Language, task: str, split: str
) -> Words:
    known = writer.words[language.code]
    words = clause.words(language)
    if task == "panx":
        tags = entity_tags(clause, language)
    else:
        tags = [word.upos if task == "udpos" else word.supertag for word in words]
    return [(known[word.concept], tag) for word, tag in zip(words, tags, strict=True)]


def _noisy(writer: WorldWriter, task: str, split: str, sentences: Sequence[Words]) -> list[Words]:
    """Sentences with the tags of the corrupted ones shuffled within each."""
    corrupted, draw = writer.corrupted(task, split, len(sentences))
    result = []
    for number, sentence in enumerate(sentences):
        if number in corrupted:
            order = draw.permutation(len(sentence))
            sentence = [(w, sentence[int(i)][1]) for (w, _), i in zip(sentence, order, strict=True)]
        result.append(list(sentence))
    return result
