"""What is wrong with data that loads: counts, labels, languages, overlap. Nothing here prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from xstilts.config.progress import ProgressFn, silent
from xstilts.config.specs import TaskSpec
from xstilts.data.check_language import check_languages, check_mixture, check_scripts
from xstilts.data.examples import Example
from xstilts.data.findings import MIN_ROWS, Finding, RowsBySplit, rows_of, text_of
from xstilts.data.formats import ROW_FORMATS
from xstilts.data.layout import filled_paths
from xstilts.data.located import available_languages, locate, row_key, split_names, tried
from xstilts.errors import XstiltsError
from xstilts.files import sha256_file

Seen: TypeAlias = dict[tuple[str, str, str], list[tuple[int, str]]]
"""Task, split and language to a hash of each row's text, and the row's place."""


def check_all(
    tasks: Sequence[TaskSpec], root: Path | None, progress: ProgressFn = silent
) -> list[Finding]:
    """What `check` finds in each of the tasks, and `check_between` between them."""
    findings: list[Finding] = []
    seen: Seen = {}
    for number, task in enumerate(tasks):
        progress(task.name, number / len(tasks))
        findings += check(task, root, seen)
    return [*findings, *check_between(tasks, seen)]


def missing_languages(tasks: Sequence[TaskSpec], root: Path | None) -> Iterator[Finding]:
    """The languages of tasks that have no data to evaluate on, a finding a task."""
    for task in tasks:
        there = available_languages(task, task.eval_split, root)
        lacking = [code for code in task.languages if code not in there]
        if lacking:
            looked = tried(task, row_key(task, task.eval_split), lacking[0], root)
            message = f"no {task.eval_split} rows in {', '.join(lacking)}"
            place = (looked or ["(no source has it)"])[0]
            yield Finding(task.name, task.eval_split, lacking[0], "missing", message, place)


def check(task: TaskSpec, root: Path | None, seen: Seen | None = None) -> list[Finding]:
    """Everything wrong with the task's data below `root`; an empty list when all is well.

    A file that cannot be read is a finding too, so one broken file does not hide the others. What
    was read is added to `seen`, for `check_between`.
    """
    findings: list[Finding] = []
    rows: dict[tuple[str, str], Sequence[Example]] = {}
    for split in split_names(task):
        for language in available_languages(task, split, root):
            try:
                found = rows_of(task, split, language, root)
            except XstiltsError as error:
                message = error.what
                findings.append(Finding(task.name, split, language, "broken", message, error.where))
                continue
            rows[split, language] = found
            if seen is not None:
                texts = [(hash(text_of(row)), row.place) for row in found]
                seen[task.name, split, language] = texts
            findings += _checksums(task, split, language, root)
            stated = _stated(task, split, language, root)
            findings += check_count(task, split, language, len(found), stated)
            findings += check_labels(task, split, language, found)
            findings += check_duplicates(task, split, language, found)
    findings += check_source(task, rows)
    findings += check_overlap(task, rows)
    findings += check_scripts(task, rows)
    findings += check_languages(task, rows)
    findings += check_mixture(task, rows)
    return findings


def present(task: TaskSpec, root: Path | None) -> bool:
    """Whether any split of the task is below `root` in any of its languages."""
    return any(available_languages(task, split, root) for split in split_names(task))


def _checksums(task: TaskSpec, split: str, language: str, root: Path | None) -> Iterator[Finding]:
    located = locate(task, split, language, root)
    if located is None or root is None or not located.source.sha256:
        return
    for name in filled_paths(task, located.source, split, language):
        expected = located.source.sha256.get(name)
        if expected and sha256_file(root / name) != expected:
            message = "the file is not the published one (sha256 differs)"
            yield Finding(task.name, split, language, "checksum", message, str(root / name))


def _stated(task: TaskSpec, split: str, language: str, root: Path | None) -> Mapping[str, int]:
    """Language, or `*`, to the rows of the split: those of the copy at hand, else the task's."""
    located = locate(task, row_key(task, split), language, root)
    of_copy = located.source.counts.get(split) if located else None
    return of_copy or task.counts.get(split, {})


def check_count(
    task: TaskSpec, split: str, language: str, rows: int, stated: Mapping[str, int]
) -> Iterator[Finding]:
    """Rows against the number stated for the language, where there is one."""
    expected = stated.get(language, stated.get("*"))
    if expected is not None and rows != expected:
        message = f"{rows} rows where the protocol states {expected}"
        yield Finding(task.name, split, language, "count", message)


def check_source(task: TaskSpec, rows: RowsBySplit) -> Iterator[Finding]:
    """Labelled training rows, none of them in the language that is trained on."""
    trained = {language: found for (split, language), found in rows.items() if split == "train"}
    there = [language for language, found in trained.items() if found[0].target is not None]
    if task.train_task == task.name and there and task.source_language not in there:
        message = (
            f"training rows are there in {', '.join(there)}, none in '{task.source_language}', "
            "which is trained on: set source_language"
        )
        yield Finding(task.name, "train", task.source_language, "language", message)


def check_labels(
    task: TaskSpec, split: str, language: str, rows: Sequence[Example]
) -> Iterator[Finding]:
    """Labels that are missing in part, or all the same: placeholders of a withheld test set."""
    if not ROW_FORMATS.get(task.format).LABELLED or not rows:
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
    seen: dict[str, Example] = {}
    clashes = []
    for row in rows:
        if row.target is not None and not isinstance(row.target, str):
            return
        first = seen.setdefault(text_of(row), row)
        if first.target != row.target:
            clashes.append((first, row))
    if clashes:
        first, row = clashes[0]
        message = (
            f"{len(clashes)} rows repeat the text of another row with a different label, "
            f"as {row.place} that of {first.place}"
        )
        yield Finding(task.name, split, language, "duplicate", message, row.place)


def check_overlap(task: TaskSpec, rows: RowsBySplit) -> Iterator[Finding]:
    """Rows of an evaluation split that are also training rows of the same language."""
    for (split, language), evaluated in rows.items():
        trained = rows.get(("train", language))
        if split == "train" or trained is None or trained is evaluated:
            continue
        known = {text_of(row) for row in trained}
        shared = [row for row in evaluated if text_of(row) in known]
        if shared:
            message = f"{len(shared)} of {len(evaluated)} rows are training rows too"
            yield Finding(task.name, split, language, "overlap", message, shared[0].place)


def check_between(tasks: Sequence[TaskSpec], seen: Seen) -> Iterator[Finding]:
    """Rows that one of the tasks is scored on and another of its family trains on, as PAWS-X's."""
    families = {task.name: task.head_family for task in tasks}
    for (name, split, language), rows in seen.items():
        others = [o for o, family in families.items() if o != name and family == families[name]]
        for other in others if split != "train" else []:
            trained = {text for text, _ in seen.get((other, "train", language), [])}
            shared = [place for text, place in rows if text in trained]
            if shared:
                message = f"{len(shared)} of {len(rows)} rows are training rows of {other}"
                yield Finding(name, split, language, "overlap", message, shared[0])
