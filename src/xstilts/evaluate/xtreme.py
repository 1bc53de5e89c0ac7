"""Averages of XTREME and XTREME-R (arXiv:2003.11080, arXiv:2104.07412), and whole score folders.

A task's score is the mean over all of its languages, English included, of its metric; for question
answering the mean of exact match and F1. A group's score is the mean of its tasks', the overall the
mean over tasks. Nothing is averaged while a part of it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from xstilts.config.load import load_task
from xstilts.config.specs import SuiteSpec
from xstilts.errors import NotFoundError
from xstilts.tasks.formats import FORMATS
from xstilts.tasks.metrics import METRICS
from xstilts.tasks.prediction_files import layout_of, score_file

OVERALL = "all_task"
_OFFICIAL_NAMES = {"map": "map@20"}

SuiteScores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Task to language to score name to value, 0..100."""


@dataclass(frozen=True)
class Summary:
    """The means of a suite's scores: by task, by group and overall.

    Attributes:
        tasks: Task to its score; tasks with missing languages are left out.
        groups: Group to its score; groups with missing tasks are left out.
        overall: None while any task is missing.
        missing: What is missing, as `task` or `task/language`.
    """

    tasks: Mapping[str, float]
    groups: Mapping[str, float]
    overall: float | None
    missing: Sequence[str] = field(default_factory=tuple)


def task_metrics(task: str) -> tuple[str, ...]:
    """The scores whose means are averaged to a task's score."""
    main: str = METRICS.get(load_task(task).metric).MAIN
    return ("exact_match", "f1") if main == "mean" else (main,)


def task_score(task: str, by_language: Mapping[str, Mapping[str, float]]) -> float:
    """A task's score, 0..100, from the scores of all of its languages."""
    return mean(
        mean(scores[name] for scores in by_language.values()) for name in task_metrics(task)
    )


def summarise(scores: SuiteScores, suite: SuiteSpec) -> Summary:
    """Averages of a suite; a score outside of it is ignored."""
    missing: list[str] = []
    tasks: dict[str, float] = {}
    for task, languages in suite.tasks.items():
        own = scores.get(task, {})
        lacking = [code for code in languages if code not in own]
        if not own:
            missing.append(task)
        elif lacking:
            missing += [f"{task}/{code}" for code in lacking]
        else:
            tasks[task] = task_score(task, {code: own[code] for code in languages})
    groups = {
        name: mean(tasks[task] for task in members)
        for name, members in suite.groups.items()
        if all(task in tasks for task in members)
    }
    whole = all(task in tasks for task in suite.overall)
    overall = mean(tasks[task] for task in suite.overall) if whole else None
    return Summary(tasks, groups, overall, tuple(missing))


def transfer_gap(by_language: Mapping[str, float], source: str = "en") -> float:
    """Score of the source language minus the mean of the others (XTREME, section 5); lower is less.

    Args:
        by_language: One metric's values, 0..100. The published gaps of question answering fit
            exact match.
        source: The language trained on.

    Raises:
        NotFoundError: The source language has no score, or nothing else has.
    """
    others = [value for code, value in by_language.items() if code != source]
    if source not in by_language or not others:
        raise NotFoundError(
            f"no transfer gap without '{source}' and other languages",
            hint="Retrieval tasks have no score in the source language.",
        )
    return by_language[source] - mean(others)


def transfer_gaps(
    scores: SuiteScores, summary: Summary, source: str = "en"
) -> dict[str, tuple[str, float]]:
    """Metric and transfer gap of each complete task that has the source language, but retrieval.

    Question answering is compared by exact match, as the published gaps seem to be.
    """
    gaps: dict[str, tuple[str, float]] = {}
    for task in summary.tasks:
        if not FORMATS.get(load_task(task).format).NEEDS_HEAD:
            continue
        if source in scores[task] and len(scores[task]) > 1:
            metric = task_metrics(task)[0]
            values = {code: found[metric] for code, found in scores[task].items()}
            gaps[task] = metric, transfer_gap(values, source)
    return gaps


# -- folders


def score_folder(
    predictions: Path, labels: Path, suite: SuiteSpec
) -> tuple[SuiteScores, list[str]]:
    """The scores of a folder in the official layout: `<task>/test-<language>.<tsv|json|jsonl>`.

    Args:
        predictions: A task counts when both folders have a folder for it.
        labels: Of the same layout.
        suite: Tasks and languages.

    Returns:
        The scores, and the files that are missing: the labels of a language, or its predictions.

    Raises:
        NotFoundError: There is no such folder, or neither has any task of the suite.
        DataError: A file is broken.
    """
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise NotFoundError(f"no folder {folder}", hint="Check the path.")
    found: dict[str, dict[str, dict[str, float]]] = {}
    missing: list[str] = []
    for task, languages in suite.tasks.items():
        if not (predictions / task).is_dir() or not (labels / task).is_dir():
            continue
        for code in languages:
            name = f"{task}/test-{code}"
            own, gold = (_file(folder / name, task) for folder in (predictions, labels))
            if own is None or gold is None:
                folder = labels if gold is None else predictions
                missing.append(f"{folder / name}.{layout_of(load_task(task)).suffix}")
                continue
            found.setdefault(task, {})[code] = score_file(task, own, gold, code)
    if not found and not missing:
        raise NotFoundError(
            f"{predictions} and {labels} share no task folder of {suite.name}",
            hint=f"Sub-folders are called {', '.join(suite.tasks)}.",
        )
    return found, missing


def _file(stem: Path, task: str) -> Path | None:
    suffixes = dict.fromkeys((layout_of(load_task(task)).suffix, "tsv", "json", "jsonl"))
    paths = (stem.with_name(f"{stem.name}.{suffix}") for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def official(scores: SuiteScores, summary: Summary) -> dict[str, Any]:
    """The JSON of XTREME's own scorer: `all_task`, groups, and each task's metrics by language."""
    record: dict[str, Any] = {}
    if summary.overall is not None:
        record[OVERALL] = summary.overall
    record |= summary.groups
    for task, by_language in scores.items():
        names = dict.fromkeys(name for values in by_language.values() for name in values)
        entry: dict[str, Any] = {}
        for name in names:
            if name == "mean":
                continue
            own = {code: values[name] for code, values in by_language.items()}
            shown = _OFFICIAL_NAMES.get(name, name)
            entry[shown] = own
            if task in summary.tasks:
                entry[f"avg_{shown}"] = mean(own.values())
        if task in summary.tasks:
            entry["avg_metric"] = summary.tasks[task]
        record[task] = entry
    return record
