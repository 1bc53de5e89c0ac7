"""Answers as the first BERT code rebuilt them: whole blank-separated words, then a re-alignment.

Published XTREME and X-STILTs figures for extractive QA come from this. It costs accuracy where a
language has few blanks: characters that BERT's basic tokenizer sets apart (Chinese and Japanese
kanji) make the re-alignment fail, and the whole chunk between blanks is the answer. Kept only to
compare with those figures.
"""

from __future__ import annotations

import unicodedata

_BREAKS = " \t\r\n\u202f"
"""What separates words there; an ideographic space (U+3000) does not."""


def legacy_answer(context: str, start: int, end: int) -> str:
    """The answer for the characters `start` to `end` of `context`."""
    left, right = start, end
    while left > 0 and context[left - 1] not in _BREAKS:
        left -= 1
    while right < len(context) and context[right] not in _BREAKS:
        right += 1
    chunk = " ".join(_words(context[left:right]))
    # A SentencePiece model hands over normalised text.
    predicted = " ".join(unicodedata.normalize("NFKC", context[start:end]).split())
    return realign(predicted, chunk)


def _words(text: str) -> list[str]:
    for mark in _BREAKS[1:]:
        text = text.replace(mark, " ")
    return [word for word in text.split(" ") if word]


def realign(predicted: str, chunk: str) -> str:
    """The part of `chunk` that `predicted` stands for, or all of `chunk` when it is not found.

    `predicted` is looked up in `chunk` with blanks around punctuation and ideographs; its place is
    then carried back by counting characters that are no blanks. It gives up when the two texts
    differ in more than blanks.
    """
    spaced = basic_split(chunk)
    found = spaced.find(predicted)
    if found < 0 or not predicted:
        return chunk
    plain, back = _without_blanks(chunk)
    spaced_plain, spaced_back = _without_blanks(spaced)
    if len(plain) != len(spaced_plain):
        return chunk
    number = {place: count for count, place in enumerate(spaced_back)}
    first, last = number.get(found), number.get(found + len(predicted) - 1)
    if first is None or last is None:
        return chunk
    return chunk[back[first] : back[last] + 1]


def _without_blanks(text: str) -> tuple[str, list[int]]:
    places = [place for place, character in enumerate(text) if character != " "]
    return "".join(text[place] for place in places), places


def basic_split(text: str) -> str:
    """`text` as BERT's cased basic tokenizer splits it, joined by blanks."""
    pieces: list[str] = []
    for character in text:
        if character in "\0\ufffd" or _is_control(character):
            continue
        if _is_ideograph(character) or _is_punctuation(character):
            pieces.append(f" {character} ")
        elif character in "\t\n\r" or unicodedata.category(character) == "Zs":
            pieces.append(" ")
        else:
            pieces.append(character)
    return " ".join("".join(pieces).split())


def _is_control(character: str) -> bool:
    return character not in "\t\n\r" and unicodedata.category(character).startswith("C")


def _is_punctuation(character: str) -> bool:
    ascii_symbol = character in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    return ascii_symbol or unicodedata.category(character).startswith("P")


_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def _is_ideograph(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in _IDEOGRAPHS)
