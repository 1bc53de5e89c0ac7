"""What is known of each language: codes, script, family, resources; `README.md` names the sources.

The table holds every language of XTREME, XTREME-R and the shipped tasks, and the sandbox's
artificial ones. What a source does not say is empty, never guessed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from xstilts.data.languages import artificial
from xstilts.data.languages.pretraining import CC100, CORPORA
from xstilts.errors import NotFoundError, UsageError, near_names

UNKNOWN = "unknown"
"""Group of what the table says nothing about."""
HIGH_GIB, MIDDLE_GIB = 10.0, 1.0
"""Least text, in GiB of CC-100, of the tiers `high` and `middle`; what was seen below is `low`."""
TIERS = ("high", "middle", "low", "unseen")


@dataclass(frozen=True, slots=True)
class Language:
    """A language; empty text, or None, stands for unknown.

    Attributes:
        code: XTREME's and XTREME-R's code; elsewhere that of the tasks' YAMLs.
        iso1: ISO 639-1.
        iso3: ISO 639-3, the macrolanguage where ISO has one (`zho`).
        individual: ISO 639-3 of the member of a macrolanguage that is meant (`cmn`).
        name: English name.
        script: ISO 15924 code of the usual script.
        script_name: Name of that script.
        wals: Its rows in WALS, by id, blank-separated.
        family: Family, as WALS has it.
        genus: Genus, as WALS has it.
        cc100_gib: GiB of text in CC-100, what XLM-R is pretrained on; 0 when it is not there.
        seen: Whether XLM-R saw it in pretraining, or the sandbox's backbone; see `seen_in`.
        artificial: Whether it is one of the sandbox's.
    """

    code: str
    iso1: str
    iso3: str
    individual: str
    name: str
    script: str
    script_name: str
    wals: str
    family: str
    genus: str
    cc100_gib: float | None
    seen: bool
    artificial: bool = False

    @property
    def tier(self) -> str:
        """One of `TIERS`, by the amount of pretraining text; empty where that is unknown."""
        if not self.seen:
            return "unseen"
        if self.cc100_gib is None:
            return ""
        if self.cc100_gib >= HIGH_GIB:
            return "high"
        return "middle" if self.cc100_gib >= MIDDLE_GIB else "low"

    @property
    def codes(self) -> tuple[str, ...]:
        """All its codes, the usual one first."""
        every = (self.code, self.iso1, self.iso3, self.individual)
        return tuple(dict.fromkeys(code for code in every if code))


@cache
def languages() -> dict[str, Language]:
    """Every language by its code, the real ones first."""
    text = resources.files(__package__).joinpath("languages.csv").read_text(encoding="utf-8")
    table = {}
    for row in csv.DictReader(text.splitlines()):
        gib = float(row.pop("cc100_gib"))
        texts: dict[str, Any] = row
        table[row["code"]] = Language(**texts, cc100_gib=gib, seen=gib > 0)
    return table | {made.code: _made(made) for made in artificial.LANGUAGES}


def _made(made: artificial.ArtificialLanguage) -> Language:
    return Language(
        code=made.code,
        iso1="",
        iso3=made.code,
        individual="",
        name=made.name,
        script=made.iso15924,
        script_name=made.script,
        wals="",
        family=made.family,
        genus="",
        cc100_gib=None,
        seen=made.seen,
        artificial=True,
    )


_OTHER_CODES = {
    "he": "iw",
    "id": "in",
    "jv": "jw",
    "ro": "mo rum",
    "sr": "scc",
    "tl": "fil",
    "de": "ger",
    "el": "gre",
    "eu": "baq",
    "fa": "per",
    "fr": "fre",
    "ka": "geo",
    "ms": "may",
    "my": "bur",
    "nl": "dut",
    "zh": "chi",
}
"""Codes that were withdrawn from ISO 639-1, and those of ISO 639-2/B, which libraries use."""


@cache
def _by_any_code() -> dict[str, Language]:
    """Codes and lower-cased English names to the language; its own code goes before the others."""
    table = dict(languages())
    for known in languages().values():
        for name in (*known.codes, known.name.lower()):
            table.setdefault(name, known)
        for name in _OTHER_CODES.get(known.code, "").split():
            table.setdefault(name, known)
    return table


def language(code: str) -> Language:
    """What is known of a language.

    Args:
        code: Any of its codes, its English name, or a code with a region or script behind it as
            files have them: `zh`, `cmn`, `zho-CN`, `deu_1996`, `Swahili`.

    Raises:
        NotFoundError: It is not in the table.
    """
    table, name = _by_any_code(), code.lower()
    found = table.get(name) or table.get(name.replace("_", " "))
    found = found or table.get(name.replace("_", "-").partition("-")[0])
    if found is None:
        raise NotFoundError.named("language", code, languages(), hint=_near(code, languages()))
    return found


def _near(code: str, known: Iterable[str]) -> str:
    """Which codes may have been meant; two letters are near to everything."""
    return near_names(code if len(code) > 2 else "", known)


def called(code: str, known: Iterable[str]) -> str:
    """A sentence that says how a task calls a language, or which codes are near it.

    Args:
        code: What was asked for, such as `deu` or `German`.
        known: The task's codes.
    """
    names = set(known)
    try:
        found = language(code)
    except NotFoundError:
        return _near(code, names)
    own = next((name for name in names if _same(name, found)), "")
    if own:
        return f"{found.name} is called '{own}' here."
    return f"It has no {found.name}. Known: {', '.join(sorted(names))}."


def _same(code: str, wanted: Language) -> bool:
    try:
        return language(code) == wanted
    except NotFoundError:
        return False


def seen_in(known: Language, corpus: str) -> bool | None:
    """Whether a backbone that was pretrained on a corpus saw a language; None where unknown.

    Args:
        known: The language; the sandbox's are of its own backbone's corpus, whatever is asked.
        corpus: As a backbone's preset calls it; empty where nobody says.
    """
    if known.artificial or corpus == CC100:
        return known.seen
    return known.code in CORPORA[corpus] if corpus in CORPORA else None


def _seen(known: Language, corpus: str) -> str:
    return {True: "seen", False: "unseen", None: ""}[seen_in(known, corpus)]


GROUPINGS: dict[str, Callable[[Language, str], str]] = {
    "script": lambda known, _: known.script_name,
    "family": lambda known, _: known.family,
    "genus": lambda known, _: known.genus,
    "tier": lambda known, _: known.tier,
    "seen": _seen,
    "latin": lambda known, _: known.script and ("Latin" if known.script == "Latn" else "non-Latin"),
}
"""Grouping to what a language's group is called, for what a backbone was pretrained on."""


def group(code: str, key: str, corpus: str = CC100) -> str:
    """The group of one language; `UNKNOWN` where nothing says.

    Args:
        code: Any of its codes.
        key: One of `GROUPINGS`.
        corpus: What the backbone was pretrained on, for `seen`; empty where that is unknown.

    Raises:
        UsageError: There is no such grouping.
    """
    if key not in GROUPINGS:
        raise UsageError(f"no grouping named '{key}'", hint=f"Known: {', '.join(GROUPINGS)}.")
    try:
        return GROUPINGS[key](language(code), corpus) or UNKNOWN
    except NotFoundError:
        return UNKNOWN


def group_by(codes: Iterable[str], key: str, corpus: str = CC100) -> dict[str, tuple[str, ...]]:
    """Groups of languages: tiers from high to unseen, others by name, the unknown at the end.

    Args:
        codes: Any codes; those that the table lacks are in `UNKNOWN`.
        key: One of `GROUPINGS`.
        corpus: What the backbone was pretrained on, for `seen`; empty where that is unknown.

    Raises:
        UsageError: There is no such grouping.
    """
    groups: dict[str, list[str]] = {}
    for code in codes:
        groups.setdefault(group(code, key, corpus), []).append(code)

    def place(name: str) -> tuple[bool, int, str]:
        return name == UNKNOWN, TIERS.index(name) if name in TIERS else 0, name

    return {name: tuple(groups[name]) for name in sorted(groups, key=place)}
