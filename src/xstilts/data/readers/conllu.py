"""Universal Dependencies treebanks (CoNLL-U) as words with part-of-speech tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.fused import clean, fused, read_sentences, syntactic, withheld
from xstilts.data.readers import Rows
from xstilts.data.rows import Context, Dropped, DropRow, ReaderOptions, label_name, options_of
from xstilts.data.text import id_prefixes, is_blank, place, where
from xstilts.errors import DataError


class Options(ReaderOptions):
    """Options of treebanks.

    Attributes:
        words: `fused` gives multi-word tokens as one word with the tag of its head, as in XTREME;
            `syntactic` splits them. Blanks inside a word and zero-width non-joiners go
            with `fused`, as in XTREME; `syntactic` words are as they stand.
        tag: Which layer: universal or language-specific tags.
    """

    words: Literal["fused", "syntactic"] = "fused"
    tag: Literal["upos", "xpos"] = "upos"


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The sentences of treebanks; those whose text is withheld are left out.

    Raises:
        DataError: Not CoNLL-U, or a tag is unknown.
    """
    del split
    options = options_of(Options, source, task)
    for path, prefix in zip(paths, id_prefixes(paths), strict=True):
        context = Context(path, source, task, language, options)
        sentences = read_sentences(path, 3 if options.tag == "upos" else 4)
        number = 0
        for number, sentence in enumerate(sentences, 1):
            spot = place(path, sentence.row)
            joined = options.words == "fused"
            words, tags = fused(sentence, language) if joined else syntactic(sentence)
            if withheld(words):
                yield Dropped(spot, "text withheld")
                continue
            if joined:
                words = [clean(word) for word in words]
            if any(is_blank(word) for word in words):
                raise DataError("a word is blank", where=where(path, sentence.row))
            try:
                target = tuple(label_name(tag, context, sentence.row) for tag in tags)
            except DropRow as drop:
                yield Dropped(spot, drop.reason)
                continue
            fields = {"words": tuple(words)}
            yield Example(f"{prefix}{number}", language, fields, target, spot)
        if not number:
            raise DataError("the file has no sentences", where=str(path))
