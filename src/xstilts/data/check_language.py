"""Is a file in the language that it is said to be in? By scripts and three-letter sequences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from xstilts.config.specs import TaskSpec
from xstilts.data.examples import Example
from xstilts.data.findings import MIN_ROWS, UNSURE, Finding, RowsBySplit, rows_of, text_of
from xstilts.data.located import available_languages, split_names
from xstilts.data.scripts import letters, scripts_of
from xstilts.errors import DataError, XstiltsError

SAMPLE = 2000
"""Rows that a language profile is made of."""
MARGIN = 0.05
"""How much closer to another language's text a file must be to be called that language."""
ROW_FACTOR = 1.5
"""How many times closer to another language's text a single row must be."""
MIN_SIMILARITY = 0.1
"""Cosine to the nearest language's text below which a row is like none of them."""
MIXED_SHARE = 0.1
"""Share of rows in other languages from which a training file is called a mixture."""
OWN_SCRIPT = 0.1
"""Share of letters in a language's own script below which a file is called another language's."""
MIN_TEXT = 20
"""Characters below which a single row says nothing about its language."""


def check_scripts(task: TaskSpec, rows: RowsBySplit) -> Iterator[Finding]:
    """Files of which hardly a letter is of the script that their language is written in."""
    for (split, language), found in rows.items():
        own = scripts_of(language)
        if not own or len(found) < MIN_ROWS:
            continue
        counts = letters(text_of(row)[:500] for row in _sample(found))
        total = sum(counts.values())
        share = sum(counts[name] for name in own) / max(total, 1)
        if total and share < OWN_SCRIPT:
            most = max(counts, key=counts.__getitem__)
            message = (
                f"{share:.0%} of the letters are of the script of '{language}', "
                f"{counts[most] / total:.0%} are {most}"
            )
            yield Finding(task.name, split, language, "language", message, found[0].place)


def check_languages(task: TaskSpec, rows: RowsBySplit) -> Iterator[Finding]:
    """Files whose text is closer to another language of the task than to their own.

    Compares counts of three-letter sequences with those of the other splits of each language, so
    it says nothing about a language that has a single split.
    """
    profiles = {key: _profile(found) for key, found in rows.items() if len(found) >= MIN_ROWS}
    for (split, language), profile in profiles.items():
        near: dict[str, float] = {}
        for (other_split, other), theirs in profiles.items():
            if other_split != split:
                near[other] = max(near.get(other, 0.0), _cosine(profile, theirs))
        own = near.pop(language, None)
        written = _of_script(rows[split, language], [language, *near])
        near = {code: near[code] for code in written if code in near} if language in written else {}
        if own is None or not near:
            continue  # `check_scripts` tells of another script
        best = max(near, key=near.__getitem__)
        if near[best] > own + MARGIN:
            message = (
                f"the text is closer to '{best}' ({near[best]:.2f}) than to '{language}' "
                f"({own:.2f}) in the other splits"
            )
            place = rows[split, language][0].place
            yield Finding(task.name, split, language, "language", message, place)


def check_mixture(task: TaskSpec, rows: RowsBySplit) -> Iterator[Finding]:
    """Training files of which many rows are closer to another language, or like none.

    What a language looks like is taken from the other splits, so a task that has those in one
    language only is not judged.
    """
    texts: dict[str, list[Example]] = {}
    for (split, language), found in rows.items():
        if split != "train" and len(found) >= MIN_ROWS:
            texts.setdefault(language, []).extend(found)
    looks = {language: _profile(found) for language, found in texts.items()}
    for (split, language), found in rows.items():
        if split == "train" and (mixture := _mixture(found, language, looks)):
            kind, message, place = mixture
            yield Finding(task.name, split, language, kind, message, place)


def require_language(
    task: TaskSpec, found: Sequence[Example], language: str, root: Path | None
) -> str:
    """Refuse training rows of which many are in another language of the task.

    Says nothing where the task's other splits are in one language only.

    Returns:
        Why that could not be told; empty when it could.

    Raises:
        DataError: The rows are a mixture.
    """
    mixture = _mixture(found, language, _looks(task.model_dump_json(), root))
    if mixture is None:
        return ""
    kind, message, place = mixture
    if kind != UNSURE:
        raise DataError(
            f"the training rows of '{language}' hold other languages: {message}",
            where=place,
            hint="Zero-shot training must see one language only: split the file by language. If "
            "the rows are right, --set source.check=false.",
        )
    return message


@lru_cache(maxsize=32)
def _looks(spec: str, root: Path | None) -> Mapping[str, _Profile]:
    """How every language of a task, given as JSON, looks outside of its training split."""
    task = TaskSpec.model_validate_json(spec)
    looks: dict[str, _Profile] = {}
    for split in split_names(task):
        known = available_languages(task, split, root) if split != "train" else []
        for language in known:
            with suppress(XstiltsError):  # `data check` tells of it
                rows = rows_of(task, split, language, root)
                if language not in looks and len(rows) >= MIN_ROWS:
                    looks[language] = _profile(rows)
    return looks


def _mixture(
    found: Sequence[Example], language: str, looks: Mapping[str, _Profile]
) -> tuple[str, str, str] | None:
    """Kind of finding, message and place, when many training rows are in another language.

    Also when the languages' own text is too little to tell.
    """
    if len(looks) < 2 or language not in looks:
        return None
    judged = [row for row in _sample(found) if len(text_of(row)) >= MIN_TEXT]
    if len(judged) < MIN_ROWS:
        return None
    near = [(row, _nearest(row, looks, language)) for row in judged]
    strange = [(row, code) for row, code in near if code and code != language]
    if len(strange) < MIXED_SHARE * len(judged):
        unlike = sum(not code for _, code in near)
        if unlike <= len(judged) / 2:
            return None
        message = (
            f"the other splits hold too little text of '{language}' to tell the language of "
            f"{unlike} of {len(judged)} training rows"
        )
        return UNSURE, message, judged[0].place
    codes = ", ".join(sorted({code for _, code in strange}))
    message = f"{len(strange)} of {len(judged)} rows looked at are closer to {codes}"
    return "language", f"{message} than to '{language}'", strange[0][0].place


def _nearest(row: Example, looks: Mapping[str, _Profile], own: str) -> str:
    """Its own language, or the one that a row is clearly closer to; empty when it is like none.

    Only languages of the script that most of its letters are of come into question.
    """
    written = _of_script([row], looks)
    if written == [own]:
        return own
    profile = _profile([row])
    near = {code: _cosine(profile, looks[code]) for code in written or looks}
    best = max(near, key=near.__getitem__)
    if near[best] < MIN_SIMILARITY:
        return ""
    return best if near[best] > ROW_FACTOR * near.get(own, 0.0) else own


def _of_script(rows: Sequence[Example], codes: Iterable[str]) -> list[str]:
    """The languages that are written in the script that most letters of the rows are of."""
    counts = letters(text_of(row)[:500] for row in _sample(rows))
    script = max(counts, key=counts.__getitem__, default="")
    return [code for code in codes if not scripts_of(code) or script in scripts_of(code)]


@dataclass(frozen=True)
class _Profile:
    """Counts of three-letter sequences and their Euclidean norm."""

    counts: Counter[str]
    norm: float


def _sample(rows: Sequence[Example]) -> Sequence[Example]:
    return rows[:: max(1, len(rows) // SAMPLE)]


def _profile(rows: Sequence[Example]) -> _Profile:
    counts: Counter[str] = Counter()
    for row in _sample(rows):
        text = f" {text_of(row)[:500]} "
        counts.update(text[at : at + 3] for at in range(len(text) - 2))
    return _Profile(counts, math.sqrt(sum(count * count for count in counts.values())))


def _cosine(one: _Profile, other: _Profile) -> float:
    small, large = sorted((one.counts, other.counts), key=len)
    product = sum(count * large[key] for key, count in small.items() if key in large)
    return product / (one.norm * other.norm)
