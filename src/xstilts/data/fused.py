"""CoNLL-U sentences as words and tags: syntactic words, or fused surface forms as in XTREME.

XTREME writes a multi-word token (French `du`, German `zum`) as one word that carries the tag of
its head: the sub-word with the fewest ancestors in the dependency graph; among equals the one whose
tag comes first in a list. The graph holds the basic heads and those of the enhanced layer that are
whole numbers, as in the conversion tool that XTREME used (arXiv:2003.11080, appendix). Empty nodes
vanish. Where that tool stops with an error, a tag missing from its list, the tag ranks last here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xstilts.data.text import is_blank, read_text, split_lines, where
from xstilts.errors import DataError

_DEFAULT_ORDER = "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT"
_ORDERS = {
    "es": "VERB AUX PRON ADP DET",
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it": "VERB AUX ADV PRON ADP DET INTJ",
}
ZERO_WIDTH_NON_JOINER = "\u200c"
WITHHELD = "_"


@dataclass(frozen=True, slots=True)
class Token:
    """One syntactic word: its form, its tag and the positions of its heads (0 is the root)."""

    form: str
    tag: str
    heads: tuple[int, ...]


@dataclass(slots=True)
class Sentence:
    """A sentence of a treebank.

    Attributes:
        row: 1-based row of its first line in the file.
        tokens: Syntactic words by their number, from 1.
        spans: First and last number of each multi-word token, with its surface form.
    """

    row: int
    tokens: dict[int, Token] = field(default_factory=dict)
    spans: dict[int, tuple[int, str]] = field(default_factory=dict)

    @property
    def spans_to(self) -> int:
        """Number of the last word of a multi-word token; 0 without any."""
        return max((last for last, _ in self.spans.values()), default=0)


def read_sentences(path: Path, column: int = 3) -> Iterator[Sentence]:
    """The sentences of a CoNLL-U file, with the tags of a column (3 is UPOS).

    Raises:
        DataError: A line has not ten columns, or numbers are out of order.
    """
    sentence: Sentence | None = None
    for row, line in enumerate(split_lines(read_text(path), path), 1):
        if is_blank(line):
            if sentence is not None and sentence.tokens:
                yield _whole(sentence, path)
            sentence = None
            continue
        sentence = sentence or Sentence(row)
        if not line.startswith("#"):
            _add(sentence, line, path, row, column)
    if sentence is not None and sentence.tokens:
        yield _whole(sentence, path)


def _whole(sentence: Sentence, path: Path) -> Sentence:
    """The sentence, if its last multi-word token ends with it or before."""
    if sentence.spans_to > len(sentence.tokens):
        raise DataError(
            f"a multi-word token ends at word {sentence.spans_to}, and the last word is "
            f"{len(sentence.tokens)}",
            where=where(path, sentence.row),
        )
    return sentence


def _add(sentence: Sentence, line: str, path: Path, row: int, column: int) -> None:
    cells = line.split("\t")
    if len(cells) != 10:
        raise DataError(
            f"{len(cells)} columns where CoNLL-U has 10",
            where=where(path, row),
            hint="Columns are separated by tabs.",
        )
    number = cells[0]
    if "." in number:
        return
    try:
        if "-" in number:
            first, last = (int(part) for part in number.split("-"))
            if not max(len(sentence.tokens), sentence.spans_to) < first <= last:
                raise DataError(
                    f"multi-word token {number} begins before another one ends",
                    where=where(path, row),
                )
            sentence.spans[first] = (last, cells[1])
            return
        position = int(number)
        heads: tuple[int, ...] = (int(cells[6]),) if cells[6] != "_" else ()
    except ValueError:
        raise DataError(f"'{number}' is no word number", where=where(path, row)) from None
    if position != len(sentence.tokens) + 1:
        raise DataError(
            f"word {position} where word {len(sentence.tokens) + 1} is due", where=where(path, row)
        )
    enhanced = [dep.partition(":")[0] for dep in cells[8].split("|")] if cells[8] != "_" else []
    heads += tuple(int(head) for head in enhanced if head.isdigit())
    sentence.tokens[position] = Token(cells[1], cells[column].strip(), heads)


def syntactic(sentence: Sentence) -> tuple[list[str], list[str]]:
    """Words and tags with multi-word tokens split."""
    tokens = sentence.tokens.values()
    return [token.form for token in tokens], [token.tag for token in tokens]


def fused(sentence: Sentence, language: str) -> tuple[list[str], list[str]]:
    """Words and tags with each multi-word token as one word that carries its head's tag."""
    words, tags = [], []
    position = 1
    while position <= len(sentence.tokens):
        if position in sentence.spans:
            last, form = sentence.spans[position]
            head = _head(sentence, range(position, last + 1), language)
            words.append(form)
            tags.append(sentence.tokens[head].tag)
            position = last + 1
        else:
            words.append(sentence.tokens[position].form)
            tags.append(sentence.tokens[position].tag)
            position += 1
    return words, tags


def _head(sentence: Sentence, span: Sequence[int], language: str) -> int:
    inside = [number for number in span if number in sentence.tokens]
    distance = {number: _ancestors(sentence, number) for number in inside}
    nearest = min(distance.values())
    order = _ORDERS.get(language, _DEFAULT_ORDER).split()
    rank = {tag: position for position, tag in enumerate(order)}
    highest = [number for number in inside if distance[number] == nearest]
    return min(highest, key=lambda number: rank.get(sentence.tokens[number].tag, len(order)))


def _ancestors(sentence: Sentence, number: int) -> int:
    seen: set[int] = set()
    waiting = list(sentence.tokens[number].heads)
    while waiting:
        head = waiting.pop()
        if head not in seen:
            seen.add(head)
            if head in sentence.tokens:
                waiting += sentence.tokens[head].heads
    return len(seen - {number})


def withheld(words: Sequence[str]) -> bool:
    """Whether XTREME leaves the sentence out: all words, or all but one, are `_`.

    Treebanks whose text may not be redistributed have `_` for every word.
    """
    count = sum(word == WITHHELD for word in words)
    return count > 0 and count >= len(words) - 1


def clean(word: str) -> str:
    """A word as XTREME writes it: no blanks inside, no zero-width non-joiner."""
    return word.replace(ZERO_WIDTH_NON_JOINER, "").replace(" ", "")
