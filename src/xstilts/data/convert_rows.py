"""Conversion of rows and lines: XNLI, PAWS-X, UD part-of-speech tags, PAN-X, BUCC, Tatoeba."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xstilts.config.load import load_task
from xstilts.config.specs import TaskSpec
from xstilts.data.fused import clean, fused, read_sentences, withheld
from xstilts.data.raw import Raw, Written
from xstilts.data.readers.bucc import read_gold
from xstilts.data.readers.conll import panx_words
from xstilts.data.text import read_lines, read_text, where
from xstilts.errors import DataError, near_names

SPLITS = ("train", "dev", "test")


def xnli(raw: Raw) -> Iterator[Written]:
    """XNLI-1.0's dev and test by language, and the English training rows of XNLI-MT-1.0."""
    task = load_task("xnli")
    train = raw.one("multinli.train.en.tsv")
    if train is not None:
        rows = [_nli(cells[:3], task, spot) for spot, cells in _table(train, 3)]
        yield _tsv("train-en.tsv", rows)
    for split in ("dev", "test"):
        path = raw.one(f"xnli.{split}.tsv")
        by_language: dict[str, list[list[str]]] = defaultdict(list)
        for spot, cells in _table(path, 8) if path is not None else ():
            language = cells[0].strip()
            if language not in task.languages:
                raise DataError(
                    f"XNLI has no language '{language}'",
                    where=spot,
                    hint=near_names(language, task.languages),
                )
            by_language[language].append(_nli([cells[6], cells[7], cells[1]], task, spot))
        for language, rows in by_language.items():
            yield from _pairs(split, language, rows)


def _nli(cells: Sequence[str], task: TaskSpec, spot: str) -> list[str]:
    first, second, label = (cell.strip() for cell in cells)
    label = "contradiction" if label == "contradictory" else label
    return [first, second, _known(label, task, spot)]


def _known(label: str, task: TaskSpec, spot: str) -> str:
    if label not in task.labels:
        what = f"the label '{label}' is none of {', '.join(task.labels)}" if label else "no label"
        raise DataError(what, where=spot, hint="Labels are needed: is this a stripped file?")
    return label


def pawsx(raw: Raw) -> Iterator[Written]:
    """PAWS-X by language; training rows in English only, as XTREME uses them."""
    task = load_task("pawsx")
    for language in task.languages:
        for split, name in (("train", "train"), ("dev", "dev_2k"), ("test", "test_2k")):
            if split == "train" and language != "en":
                continue
            path = raw.one(f"{language}/{name}.tsv")
            if path is not None:
                rows = [
                    [c[1].strip(), c[2].strip(), _known(c[3].strip(), task, spot)]
                    for spot, c in _table(path, 4)
                ]
                yield from _pairs(split, language, rows)


def _pairs(split: str, language: str, rows: Sequence[Sequence[str]]) -> Iterator[Written]:
    name = f"{split}-{language}.tsv"
    if split != "test":
        yield _tsv(name, rows)
        return
    yield _tsv(name, [row[:2] for row in rows])
    yield Written(name, "".join(f"{row[2]}\n" for row in rows), len(rows), label=True)


def _tsv(name: str, rows: Sequence[Sequence[str]]) -> Written:
    return Written(name, "".join("\t".join(row) + "\n" for row in rows), len(rows))


def _table(path: Path, width: int) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of the rows after the header, at least `width`; quotes are characters."""
    for row, line in enumerate(read_lines(path, mixed=True), 1):
        if row == 1:
            continue
        cells = line.split("\t")
        if len(cells) < width:
            raise DataError(
                f"{len(cells)} columns where {width} are needed",
                where=where(path, row),
                hint="The row was cut off, or the file is not the original.",
            )
        yield where(path, row), cells


# ------------------------------------------------------------------------------------- tagging


def udpos(raw: Raw) -> Iterator[Written]:
    """UD treebanks of a language put together in the order of their file names, words fused."""
    for language in load_task("udpos").every_language:
        for split in SPLITS:
            sentences: list[tuple[list[str], list[str]]] = []
            for path in raw.all(f"{language}_*-ud-{split}.conllu"):
                for sentence in read_sentences(path):
                    words, tags = fused(sentence, language)
                    if not withheld(words):
                        sentences.append((_cleaned(words, tags, path, sentence.row), tags))
            if sentences:
                yield from _sentences(split, language, sentences)


def _cleaned(words: Sequence[str], tags: Sequence[str], path: Path, row: int) -> list[str]:
    """The words as XTREME writes them; a blank one would end the sentence in its files."""
    cleaned = [clean(word) for word in words]
    if not all(cleaned) or not all(tags):
        raise DataError("a sentence with a blank word or tag", where=where(path, row))
    return cleaned


def _sentences(
    split: str, language: str, sentences: Sequence[tuple[list[str], list[str]]]
) -> Iterator[Written]:
    name = f"{split}-{language}.tsv"
    count = len(sentences)
    if split != "test":
        blocks = ["\n".join(map("\t".join, zip(*s, strict=True))) for s in sentences]
        yield Written(name, "\n\n".join(blocks) + "\n", count)
        return
    yield Written(name, "\n\n".join("\n".join(words) for words, _ in sentences) + "\n", count)
    labels = "\n\n".join("\n".join(tags) for _, tags in sentences) + "\n"
    yield Written(name, labels, count, label=True)


def panx(raw: Raw) -> Iterator[Written]:
    """PAN-X without the language before each word; lines as XTREME's script treats them."""
    for language in load_task("panx").every_language:
        for split in SPLITS:
            path = raw.one(f"{language}-{split}") or raw.one(f"{language}/{split}")
            if path is not None:
                yield from _panx_file(path, split, language)


def _panx_file(path: Path, split: str, language: str) -> Iterator[Written]:
    pairs = [(word, tag) for _, _, word, tag in panx_words(_panx_lines(path))]
    name = f"{split}-{language}.tsv"
    words = [word for word, _ in pairs]
    count = sum(
        bool(word) and not before for word, before in zip(words, ["", *words], strict=False)
    )
    if not count:
        raise DataError("the file has no words", where=str(path))
    if split != "test":
        text = "".join(f"{word}\t{tag}\n" if word or tag else "\n" for word, tag in pairs)
        yield Written(name, text, count)
        return
    yield Written(name, "".join(f"{word}\n" for word in words), count)
    # A word that is only blanks ends the sentence in the row file, so it has no label either.
    labels = "".join(f"{tag if word else ''}\n" for word, tag in pairs)
    yield Written(name, labels, count, label=True)


def _panx_lines(path: Path) -> list[str]:
    lines = read_lines(path, mixed=True)
    return lines[:-1] if not lines[-1].strip() else lines


# ----------------------------------------------------------------------------------- retrieval


def bucc2018(raw: Raw) -> Iterator[Written]:
    """BUCC's training set renamed test, its sample set renamed dev; gold of test apart."""
    for language in load_task("bucc2018").languages:
        for split, name in (("dev", "sample"), ("test", "training")):
            found = {
                side: raw.one(f"{language}-en.{name}.{side}") for side in (language, "en", "gold")
            }
            paths = {side: path for side, path in found.items() if path is not None}
            ids = {side: _bucc_ids(path) for side, path in paths.items() if side != "gold"}
            if paths and len(paths) < len(found):
                lacking = ", ".join(f"{language}-en.{name}.{s}" for s in found if s not in paths)
                first = next(iter(paths.values()))
                raise DataError(f"{lacking} is missing", where=f"beside {first}")
            for side, path in paths.items():
                rows = ids[side] if side != "gold" else _bucc_gold(path, ids[language], ids["en"])
                hidden = side == "gold" and split == "test"
                target = f"test-{language}.tsv" if hidden else f"{language}-en.{split}.{side}"
                yield Written(target, read_text(path), len(rows), label=hidden)


def _bucc_ids(path: Path) -> dict[str, int]:
    """The ids of a side, with their rows."""
    rows: dict[str, int] = {}
    for row, line in enumerate(read_lines(path), 1):
        name, tab, _ = line.partition("\t")
        if not tab:
            raise DataError("expected `id TAB sentence`", where=where(path, row))
        if rows.setdefault(name.strip(), row) != row:
            what = f"id '{name}' repeats (first in row {rows[name.strip()]})"
            raise DataError(what, where=where(path, row))
    return rows


def _bucc_gold(
    path: Path, source: Mapping[str, int], target: Mapping[str, int]
) -> list[tuple[str, str]]:
    pairs = read_gold(path)
    for row, pair in enumerate(pairs, 1):
        for name, known in zip(pair, (source, target), strict=True):
            if name not in known:
                raise DataError(f"no sentence has the id '{name}'", where=where(path, row))
    return pairs


def tatoeba(raw: Raw) -> Iterator[Written]:
    """LASER's pairs: the foreign side as it is, the English side sorted, the order as labels."""
    for language, code in load_task("tatoeba").sources[0].codes.items():
        source = raw.one(f"tatoeba.{code}-eng.{code}")
        target = raw.one(f"tatoeba.{code}-eng.eng")
        if code == "eng" or source is None or target is None:
            continue
        foreign = read_lines(source)
        english = [line.strip() for line in read_lines(target)]
        if len(foreign) != len(english):
            raise DataError(
                f"{len(foreign)} lines on one side, {len(english)} on the other",
                where=f"{where(source, len(foreign))} and {where(target, len(english))}",
                hint="The files must have the same number of lines, in the same order.",
            )
        order = sorted(range(len(english)), key=english.__getitem__)
        count = len(english)
        yield Written(f"{language}-en.{language}", read_text(source), count)
        text = "".join(f"{english[at]}\n" for at in order)
        yield Written(f"{language}-en.en", text, count)
        labels = "".join(f"{at}\n" for at in order)
        yield Written(f"test-{language}.tsv", labels, count, label=True)
