"""Tables made from score rows; nothing here computes a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from xstilts.evaluate.store import Score

NONE = "none"


@dataclass(frozen=True)
class View:
    """A table: column names and rows of text and numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def main_scores(scores: Sequence[Score]) -> list[Score]:
    """The rows of each task's main metric."""
    return [score for score in scores if score.main]


def labels(scores: Sequence[Score]) -> list[str]:
    """Expressions in order of appearance, `none` first."""
    seen = dict.fromkeys(score.intermediate for score in scores)
    return sorted(seen, key=lambda label: label != NONE)


def task_means(scores: Sequence[Score]) -> dict[tuple[str, str], float]:
    """(expression, task) to the mean over languages of the mean over seeds, 0..100.

    Only languages that every expression has for the task count, so that means can be compared.
    """
    rows = main_scores(scores)
    shared: dict[str, set[str]] = {}
    for label in labels(rows):
        for task in {row.task for row in rows if row.intermediate == label}:
            codes = {r.language for r in rows if r.intermediate == label and r.task == task}
            shared[task] = shared[task] & codes if task in shared else codes
    result = {}
    for label, task in dict.fromkeys((row.intermediate, row.task) for row in rows):
        if shared[task]:
            values = [_over_seeds(rows, label, task, code) for code in sorted(shared[task])]
            result[label, task] = mean(values)
    return result


def _over_seeds(rows: Sequence[Score], label: str, task: str, language: str) -> float:
    return mean(
        row.value
        for row in rows
        if (row.intermediate, row.task, row.language) == (label, task, language)
    )


def main_table(scores: Sequence[Score]) -> View:
    """Expression by task, with the difference to `none` where that is there."""
    means = task_means(scores)
    tasks = sorted({task for _, task in means})
    rows = []
    for label in labels(scores):
        cells: list[object] = [label]
        for task in tasks:
            value, base = means.get((label, task)), means.get((NONE, task))
            cells.append("–" if value is None else f"{value:.1f}")
            cells.append("" if value is None or base is None else f"{value - base:+.1f}")
        rows.append(tuple(cells))
    columns = ("expression", *(c for task in tasks for c in (task, "Δ none")))
    return View("mean over languages", columns, tuple(rows))


def language_tables(scores: Sequence[Score]) -> list[View]:
    """One table a task: expression by language, and the mean."""
    rows = main_scores(scores)
    views = []
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        codes = list(dict.fromkeys(row.language for row in own))
        lines = []
        for label in labels(own):
            there = {r.language for r in own if r.intermediate == label}
            values: list[object] = [
                _over_seeds(own, label, task, code) if code in there else "–" for code in codes
            ]
            numbers = [value for value in values if isinstance(value, float)]
            lines.append((label, *values, mean(numbers)))
        layer = {row.layer for row in own}
        note = f", layer {layer.pop()}" if len(layer) == 1 and -1 not in layer else ""
        title = f"{task} {own[0].split} ({own[0].metric}{note})"
        views.append(View(title, ("expression", *codes, "mean"), tuple(lines)))
    return views


def transposed(view: View) -> View:
    """The table with rows and columns exchanged; the first column becomes the names."""
    columns = (view.columns[0], *(str(row[0]) for row in view.rows))
    rows = tuple(
        (name, *(row[place] for row in view.rows))
        for place, name in enumerate(view.columns[1:], start=1)
    )
    return View(view.title, columns, rows)
