"""Tables of alignment, made from score rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

from xstilts.config.tabular import View
from xstilts.evaluate.alignment.bitext import COLUMNS, MEASURES
from xstilts.evaluate.names import title_of
from xstilts.evaluate.score_rows import ALIGNMENT
from xstilts.evaluate.stats.resampling import Array, Pooled
from xstilts.evaluate.store import ResultCell, Score


def alignment_rows(scores: Sequence[Score]) -> list[Score]:
    """The rows that measure alignment."""
    return [score for score in scores if score.group == ALIGNMENT]


def alignment_table(scores: Sequence[Score]) -> View:
    """Expression and block by measure, means over languages of means over seeds."""
    rows = alignment_rows(scores)
    places = dict.fromkeys((row.intermediate, row.layer) for row in rows)
    lines = [
        (label, layer, *(_shown(mean_measure(rows, label, layer, name)) for name in MEASURES))
        for label, layer in places
    ]
    languages = len({row.language for row in rows})
    domain = next((row.domain for row in rows if row.domain), "")
    title = f"{title_of(rows[0]) if rows else ''}: mean over {languages} languages"
    columns = ("expression", "block", *MEASURES)
    return View(title + (f", domain {domain}" if domain else ""), columns, tuple(lines))


def _shown(value: float | None) -> object:
    return "" if value is None else value


def mean_measure(rows: Sequence[Score], label: str, layer: int, measure: str) -> float | None:
    """Mean over languages of the mean over seeds; None without a row."""
    own = [r for r in rows if (r.intermediate, r.layer, r.metric) == (label, layer, measure)]
    by_language: dict[str, list[float]] = {}
    for row in own:
        by_language.setdefault(row.language, []).append(row.value)
    return mean(mean(values) for values in by_language.values()) if own else None


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
