"""Tables made from score rows; nothing here computes a score."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from xstilts.config.tabular import View
from xstilts.evaluate.names import plain_label, title_of
from xstilts.evaluate.store import Score

NONE = "none"


def main_scores(scores: Sequence[Score]) -> list[Score]:
    """The rows of each task's main metric."""
    return [score for score in scores if score.main]


def labels(scores: Sequence[Score]) -> list[str]:
    """Expressions in order of appearance, `none` first."""
    seen = dict.fromkeys(plain_label(score) for score in scores)
    return sorted(seen, key=lambda label: label != NONE)


def counted_blocks(scores: Iterable[Score]) -> dict[tuple[str, str], tuple[int, str]]:
    """(task, split) to the one block and pooling that means and exports count.

    It is what most expressions have; of equals the lowest block. Blocks of one bitext are one task.
    """
    having: dict[tuple[str, str], dict[tuple[int, str], set[str]]] = {}
    for score in scores:
        if score.main:
            kinds = having.setdefault((score.task, score.split), {})
            kinds.setdefault((score.layer, score.pooling), set()).add(plain_label(score))
    return {
        place: min(kinds, key=lambda kind: (-len(kinds[kind]), kind))
        for place, kinds in having.items()
    }


def task_means(scores: Sequence[Score]) -> dict[tuple[str, str], float]:
    """(expression, task) to the mean over languages of the mean over seeds, 0..100.

    Only languages that every expression has for the task count, so that means can be compared.
    """
    rows = main_scores(scores)
    shared: dict[str, set[str]] = {}
    for label in labels(rows):
        for task in {title_of(row) for row in rows if row.intermediate == label}:
            codes = {r.language for r in rows if r.intermediate == label and title_of(r) == task}
            shared[task] = shared[task] & codes if task in shared else codes
    result = {}
    for label, task in dict.fromkeys((row.intermediate, title_of(row)) for row in rows):
        if shared[task]:
            values = [_over_seeds(rows, label, task, code) for code in sorted(shared[task])]
            result[label, task] = mean(values)
    return result


def _over_seeds(rows: Sequence[Score], label: str, task: str, language: str) -> float:
    return mean(
        row.value
        for row in rows
        if (row.intermediate, title_of(row), row.language) == (label, task, language)
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


def language_tables(
    scores: Sequence[Score], errors: Mapping[str, float] | None = None
) -> list[View]:
    """One table a task and split: expression, and block where there are several, by language.

    Args:
        scores: Rows of any tasks; means over seeds are shown.
        errors: Key of a cell to the standard error of its score over examples. Each row is then
            followed by one of them (`±`), and the last one says how many examples there are.
    """
    rows = main_scores(scores)
    views = []
    for task, split in dict.fromkeys((row.task, row.split) for row in rows):
        own = [row for row in rows if (row.task, row.split) == (task, split)]
        codes = list(dict.fromkeys(row.language for row in own))
        blocks = sorted({row.layer for row in own})
        lines = []
        for label, block in itertools.product(labels(own), blocks):
            mine = [r for r in own if (plain_label(r), r.layer) == (label, block)]
            by_code = {
                code: [row.value for row in mine if row.language == code]
                for code in dict.fromkeys(row.language for row in mine)
            }
            values: list[object] = [mean(by_code[c]) if c in by_code else "–" for c in codes]
            numbers = [value for value in values if isinstance(value, float)]
            name = f"{label} (block {block})" if len(blocks) > 1 else label
            lines += [(name, *values, mean(numbers))] if numbers else []
            if errors is not None and numbers:
                known = [[errors[r.cell] for r in mine if _in(r, c, errors)] for c in codes]
                lines.append((f"{name} ±", *(mean(e) if e else "–" for e in known), ""))
        if errors is not None:
            sizes = [dict.fromkeys(f"{r.n:,}" for r in own if r.language == c) for c in codes]
            lines.append(("n", *(" or ".join(size) for size in sizes), ""))
        note = f", block {blocks[0]}" if len(blocks) == 1 and blocks[0] >= 0 else ""
        title = f"{task} {split} ({own[0].metric}{note})"
        views.append(View(title, ("expression", *codes, "mean"), tuple(lines)))
    return views


def _in(score: Score, language: str, errors: Mapping[str, float]) -> bool:
    return score.language == language and score.cell in errors


def transposed(view: View) -> View:
    """The table with rows and columns exchanged; the first column becomes the names."""
    columns = (view.columns[0], *(str(row[0]) for row in view.rows))
    rows = tuple(
        (name, *(row[place] for row in view.rows))
        for place, name in enumerate(view.columns[1:], start=1)
    )
    return View(view.title, columns, rows)
