"""What is wrong with data that loads: counts, labels, languages, overlap. Nothing here prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from xstilts.data.examples import Example
from xstilts.data.layout import filled_paths
from xstilts.data.located import available_languages, locate, split_names
from xstilts.data.pairs import load_pair
from xstilts.data.scripts import letters, scripts_of
from xstilts.data.sources import load_rows
from xstilts.errors import DataError, XstiltsError
from xstilts.files import sha256_file
from xstilts.specs import TaskSpec

SAMPLE = 2000
"""Rows that a language profile is made of."""
MIN_ROWS = 20
"""Fewer rows say nothing about labels or language."""
MARGIN = 0.05
"""How much closer to another language's text a file must be to be called that language."""
ROW_FACTOR = 1.5
"""How many times closer to another language's text a single row must be."""
MIXED_SHARE = 0.1
"""Share of rows in other languages from which a training file is called a mixture."""
OWN_SCRIPT = 0.1
"""Share of letters in a language's own script below which a file is called another language's."""
MIN_TEXT = 20
"""Characters below which a single row says nothing about its language."""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: `broken`, `count`, `labels`, `language`, `overlap`, `duplicate` or `checksum`.
        message: What, in one sentence.
        where: File and row of the first case, where there is one.
    """

    task: str
    split: str
    language: str
    kind: str
    message: str
    where: str = ""


Rows = Mapping[tuple[str, str], Sequence[Example]]


def check(task: TaskSpec, root: Path | None) -> list[Finding]:
    """Everything wrong with the task's data below `root`; an empty list when all is well.

    A file that cannot be read is a finding too, so one broken file does not hide the others.
    """
    findings: list[Finding] = []
    rows: dict[tuple[str, str], Sequence[Example]] = {}
    for split in split_names(task):
        for language in available_languages(task, split, root):
            try:
                found = _read(task, split, language, root)
            except XstiltsError as error:
                message = error.what
                findings.append(Finding(task.name, split, language, "broken", message, error.where))
                continue
            rows[split, language] = found
            findings += _checksums(task, split, language, root)
            findings += check_count(task, split, language, len(found))
            findings += check_labels(task, split, language, found)
            findings += check_duplicates(task, split, language, found)
    findings += check_overlap(task, rows)
    findings += check_scripts(task, rows)
    findings += check_languages(task, rows)
    findings += check_mixture(task, rows)
    return findings


def present(task: TaskSpec, root: Path | None) -> bool:
    """Whether any split of the task is below `root` in any of its languages."""
    return any(available_languages(task, split, root) for split in split_names(task))


def _read(task: TaskSpec, split: str, language: str, root: Path | None) -> Sequence[Example]:
    if task.format == "retrieval":
        return load_pair(task, language, root, split).source
    return load_rows(task, split, language, root).examples


def _checksums(task: TaskSpec, split: str, language: str, root: Path | None) -> Iterator[Finding]:
    located = locate(task, split, language, root)
    if located is None or root is None or not located.source.sha256:
        return
    for name in filled_paths(task, located.source, split, language):
        expected = located.source.sha256.get(name)
        if expected and sha256_file(root / name) != expected:
            message = "the file is not the published one (sha256 differs)"
            yield Finding(task.name, split, language, "checksum", message, str(root / name))


def check_count(task: TaskSpec, split: str, language: str, rows: int) -> Iterator[Finding]:
    """Rows against the number that the protocol states, where it states one."""
    stated = task.counts.get(split, {})
    expected = stated.get(language, stated.get("*"))
    if expected is not None and rows != expected:
        message = f"{rows} rows where the protocol states {expected}"
        yield Finding(task.name, split, language, "count", message)


def check_labels(
    task: TaskSpec, split: str, language: str, rows: Sequence[Example]
) -> Iterator[Finding]:
    """Labels that are missing in part, or all the same: placeholders of a withheld test set."""
    if task.format in ("retrieval", "masked_lm") or not rows:
        return
    missing = [row for row in rows if row.target is None]
    if missing and len(missing) < len(rows):
        message = f"{len(missing)} of {len(rows)} rows have no label"
        yield Finding(task.name, split, language, "labels", message, missing[0].place)
    if missing and split == "train":
        message = "training rows have no label"
        yield Finding(task.name, split, language, "labels", message, missing[0].place)
    labelled = [row for row in rows if row.target is not None]
    kinds = {_label_kind(row) for row in labelled}
    if len(labelled) >= MIN_ROWS and len(kinds) == 1:
        message = f"all {len(labelled)} rows have the label {next(iter(kinds))}: a placeholder?"
        yield Finding(task.name, split, language, "labels", message, labelled[0].place)


def _label_kind(row: Example) -> Any:
    target = row.target
    if isinstance(target, tuple) and target and not isinstance(target[0], str):
        return (target[0].start, target[0].text)
    if isinstance(target, tuple):
        return "/".join(sorted(set(target))) if target else "unanswerable"
    return target


def check_duplicates(
    task: TaskSpec, split: str, language: str, rows: Sequence[Example]
) -> Iterator[Finding]:
    """Rows with the same text but different labels, where a text has one label."""
    if task.format not in ("classification", "multiple_choice"):
        return
    seen: dict[str, Example] = {}
    clashes = []
    for row in rows:
        first = seen.setdefault(_text(row), row)
        if first.target != row.target:
            clashes.append((first, row))
    if clashes:
        first, row = clashes[0]
        message = (
            f"{len(clashes)} rows repeat the text of another row with a different label, "
            f"as {row.place} that of {first.place}"
        )
        yield Finding(task.name, split, language, "duplicate", message, row.place)


def check_overlap(task: TaskSpec, rows: Rows) -> Iterator[Finding]:
    """Rows of an evaluation split that are also training rows of the same language."""
    for (split, language), evaluated in rows.items():
        trained = rows.get(("train", language))
        if split == "train" or trained is None or trained is evaluated:
            continue
        known = {_text(row) for row in trained}
        shared = [row for row in evaluated if _text(row) in known]
        if shared:
            message = f"{len(shared)} of {len(evaluated)} rows are training rows too"
            yield Finding(task.name, split, language, "overlap", message, shared[0].place)


def _text(row: Example) -> str:
    parts: list[str] = []
    for name in sorted(row.fields):
        value = row.fields[name]
        parts.append(" ".join(value) if isinstance(value, tuple) else str(value))
    return "\t".join(" ".join(part.split()).casefold() for part in parts)


# ------------------------------------------------------------------------------------ language


def check_scripts(task: TaskSpec, rows: Rows) -> Iterator[Finding]:
    """Files of which hardly a letter is of the script that their language is written in."""
    for (split, language), found in rows.items():
        own = scripts_of(language)
        if not own or len(found) < MIN_ROWS:
            continue
        counts = letters(_text(row)[:500] for row in found[:: max(1, len(found) // SAMPLE)])
        total = sum(counts.values())
        share = sum(counts[name] for name in own) / max(total, 1)
        if total and share < OWN_SCRIPT:
            most = max(counts, key=counts.__getitem__)
            message = (
                f"{share:.0%} of the letters are of the script of '{language}', "
                f"{counts[most] / total:.0%} are {most}"
            )
            yield Finding(task.name, split, language, "language", message, found[0].place)


def check_languages(task: TaskSpec, rows: Rows) -> Iterator[Finding]:
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
        if own is None or not near:
            continue
        best = max(near, key=near.__getitem__)
        if near[best] > own + MARGIN:
            message = (
                f"the text is closer to '{best}' ({near[best]:.2f}) than to '{language}' "
                f"({own:.2f}) in the other splits"
            )
            place = rows[split, language][0].place
            yield Finding(task.name, split, language, "language", message, place)


def check_mixture(task: TaskSpec, rows: Rows) -> Iterator[Finding]:
    """Training files of which many rows are closer to another language than to their own.

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
            message, place = mixture
            yield Finding(task.name, split, language, "language", message, place)


def require_language(
    task: TaskSpec, found: Sequence[Example], language: str, root: Path | None
) -> None:
    """Refuse training rows of which many are in another language of the task.

    Says nothing where the task's other splits are in one language only.

    Raises:
        DataError: The rows are a mixture.
    """
    mixture = _mixture(found, language, _looks(task.model_dump_json(), root))
    if mixture:
        message, place = mixture
        raise DataError(
            f"the training rows of '{language}' hold other languages: {message}",
            where=place,
            hint="Zero-shot training must see one language only: split the file by language. If "
            "the rows are right, --set source.check=false.",
        )


@lru_cache(maxsize=4)
def _looks(spec: str, root: Path | None) -> Mapping[str, _Profile]:
    """How every language of a task, given as JSON, looks outside of its training split."""
    task = TaskSpec.model_validate_json(spec)
    looks: dict[str, _Profile] = {}
    for split in split_names(task):
        known = available_languages(task, split, root) if split != "train" else []
        for language in known:
            with suppress(XstiltsError):  # `data check` tells of it
                rows = _read(task, split, language, root)
                if language not in looks and len(rows) >= MIN_ROWS:
                    looks[language] = _profile(rows)
    return looks


def _mixture(
    found: Sequence[Example], language: str, looks: Mapping[str, _Profile]
) -> tuple[str, str] | None:
    """What is wrong with training rows and where, when many are in another language."""
    if len(looks) < 2 or language not in looks:
        return None
    judged = [row for row in _sample(found) if len(_text(row)) >= MIN_TEXT]
    strange = [(row, code) for row in judged if (code := _nearest(row, looks, language))]
    if len(judged) < MIN_ROWS or len(strange) < MIXED_SHARE * len(judged):
        return None
    codes = ", ".join(sorted({code for _, code in strange}))
    message = f"{len(strange)} of {len(judged)} rows looked at are closer to {codes}"
    return f"{message} than to '{language}'", strange[0][0].place


def _nearest(row: Example, looks: Mapping[str, _Profile], own: str) -> str:
    """The language that a row is clearly closer to than to its own, or an empty text."""
    profile = _profile([row])
    near = {code: _cosine(profile, theirs) for code, theirs in looks.items()}
    best = max(near, key=near.__getitem__)
    return best if best != own and near[best] > ROW_FACTOR * near[own] else ""


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
        text = f" {_text(row)[:500]} "
        counts.update(text[at : at + 3] for at in range(len(text) - 2))
    return _Profile(counts, math.sqrt(sum(count * count for count in counts.values())))


def _cosine(one: _Profile, other: _Profile) -> float:
    small, large = sorted((one.counts, other.counts), key=len)
    product = sum(count * large[key] for key, count in small.items() if key in large)
    return product / (one.norm * other.norm)
