"""Tables of alignment, made from score rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import hypot
from statistics import mean

from xstilts.config.tabular import View
from xstilts.evaluate.alignment.bitext import COLUMNS, MEASURES
from xstilts.evaluate.names import title_of
from xstilts.evaluate.score_rows import ALIGNMENT
from xstilts.evaluate.stats import enough_outcomes, standard_deviation
from xstilts.evaluate.stats.resampling import Array, Pooled, standard_error
from xstilts.evaluate.store import ResultCell, Score
from xstilts.report.material import data_text


def alignment_rows(scores: Sequence[Score]) -> list[Score]:
    """The rows that measure alignment."""
    return [score for score in scores if score.group == ALIGNMENT]


def alignment_tables(cells: Sequence[ResultCell]) -> list[tuple[View, str]]:
    """For each bitext its table with standard errors, and the split and size it is of."""
    rows = alignment_rows([score for cell in cells for score in cell.scores])
    errors = alignment_errors(cells)
    found = []
    for task in dict.fromkeys((row.task, row.split) for row in rows):
        own = [row for row in rows if (row.task, row.split) == task]
        found.append((alignment_table(own, errors), data_text(own[0].split, {r.n for r in own})))
    return found


def alignment_table(
    scores: Sequence[Score], errors: Mapping[str, Mapping[str, float]] | None = None
) -> View:
    """Expression and block by measure, means over languages of means over seeds.

    Args:
        scores: Rows of a bitext; those of other kinds are passed over.
        errors: What `alignment_errors` gives. Each row is then followed by one of the standard
            errors of its means over sentences (`±`).
    """
    rows = alignment_rows(scores)
    lines = []
    for (label, layer), own in by_place(rows).items():
        means = [mean_measure(own, label, layer, name) for name in MEASURES]
        lines.append((label, layer, *map(_shown, means)))
        if errors:
            apart = [_error(own, name, errors) for name in MEASURES]
            lines.append((f"{label} ±", layer, *map(_shown, apart)))
    languages = len({row.language for row in rows})
    domain = next((row.domain for row in rows if row.domain), "")
    title = f"{title_of(rows[0]) if rows else ''}: mean over {languages} languages"
    columns = ("expression", "block", *MEASURES)
    return View(title + (f", domain {domain}" if domain else ""), columns, tuple(lines))


def by_place(rows: Iterable[Score]) -> dict[tuple[str, int], list[Score]]:
    """Expression and block to their rows, in the order of the first of each."""
    places: dict[tuple[str, int], list[Score]] = {}
    for row in rows:
        places.setdefault((row.intermediate, row.layer), []).append(row)
    return places


def alignment_errors(cells: Iterable[ResultCell]) -> dict[str, dict[str, float]]:
    """Key of a cell to the standard error of each measure of `COLUMNS` over sentences, in points.

    Cells of fewer than five sentences have none.

    Raises:
        IntegrityError: The outcomes of a cell are broken, or do not give its score.
    """
    errors = {}
    for cell in cells:
        rows = enough_outcomes(cell, paired_measure(COLUMNS[0]))
        if rows is not None:
            found = [standard_error(row, lambda sums, n: 100.0 * sums / n) for row in rows.T]
            errors[cell.key] = dict(zip(COLUMNS, found, strict=True))
    return errors


def _error(
    rows: Sequence[Score], measure: str, errors: Mapping[str, Mapping[str, float]]
) -> float | None:
    """Standard error of a mean over languages, whose sentences are drawn apart.

    None where a language has none, and where all sentences of all languages came out alike.
    """
    by_language: dict[str, list[float]] = {}
    for row in rows:
        if row.metric == measure and measure in errors.get(row.cell, {}):
            by_language.setdefault(row.language, []).append(errors[row.cell][measure])
    if not by_language or by_language.keys() != {row.language for row in rows}:
        return None
    return hypot(*map(mean, by_language.values())) / len(by_language) or None


def _shown(value: float | None) -> object:
    return "" if value is None else value


def mean_measure(rows: Sequence[Score], label: str, layer: int, measure: str) -> float | None:
    """Mean over languages of the mean over seeds; None without a row."""
    own = [r for r in rows if (r.intermediate, r.layer, r.metric) == (label, layer, measure)]
    by_language: dict[str, list[float]] = {}
    for row in own:
        by_language.setdefault(row.language, []).append(row.value)
    return mean(mean(values) for values in by_language.values()) if own else None


def spread_over_seeds(rows: Sequence[Score], label: str, layer: int, measure: str) -> float | None:
    """Standard deviation over seeds of the mean over languages; None for fewer than three."""
    own = [r for r in rows if (r.intermediate, r.layer, r.metric) == (label, layer, measure)]
    by_seed: dict[int, dict[str, float]] = {}
    for row in own:
        by_seed.setdefault(row.seed, {})[row.language] = row.value
    whole = {row.language for row in own}
    means = [mean(found.values()) for found in by_seed.values() if found.keys() == whole]
    return standard_deviation(means)


def paired_measure(name: str) -> Callable[[ResultCell], tuple[Score, Pooled] | None]:
    """What lets `xstilts.evaluate.stats.collect` pair a measure of `COLUMNS` over sentences."""
    column = COLUMNS.index(name)

    def pooled(sums: Array, n: int) -> Array:
        return 100.0 * sums[..., column] / n

    def chosen(cell: ResultCell) -> tuple[Score, Pooled] | None:
        own = (s for s in cell.scores if s.group == ALIGNMENT and s.metric == name)
        score = next(own, None)
        return None if score is None else (score, pooled)

    return chosen
