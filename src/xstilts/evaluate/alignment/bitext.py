"""Every measure of a bitext at once, in blocks of queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xstilts.config.progress import ProgressFn
from xstilts.data.examples import Example
from xstilts.data.pairs import BitextPair
from xstilts.errors import UsageError
from xstilts.evaluate.alignment import measures
from xstilts.evaluate.request import Computed
from xstilts.evaluate.retrieval.neighbours import Vectors, nearest_both, normalised

COLUMNS = ("from_pivot", "to_pivot", "margin", "csls", "mrr")
"""What each pair of sentences contributes; the scores of these names are 100 times the means.

`from_pivot` looks for the sentence of the language that is nearest to the pivot's, XTREME's
direction, `to_pivot` the other way round; the last three go from the pivot.
"""
MEASURES = (*COLUMNS, "cka", "hubness", "mean_cosine", "isotropy")
"""`cka`, `mean_cosine` and `isotropy` are times 100 too; `hubness` is a skewness."""
BLOCK = 1024
"""Queries compared with all candidates at a time."""

Array = NDArray[Any]


def align(
    pair: BitextPair, embed: Callable[[Sequence[Example]], Vectors], progress: ProgressFn
) -> Computed:
    """Measure how well both sides of a bitext are aligned.

    Args:
        pair: Its gold must pair each sentence with one other.
        embed: Gives sentence vectors.
        progress: Called with the share that is done.

    Raises:
        UsageError: A sentence has no translation, or several.
    """
    gold = np.array(sorted(pair.gold), np.int64).reshape(-1, 2)
    sizes = len(pair.source), len(pair.target)
    if any(sorted(gold[:, side]) != list(range(size)) for side, size in enumerate(sizes)):
        raise UsageError(
            "alignment is measured on sentences that have one translation each",
            where=f"{sizes[0]} and {sizes[1]} sentences, {len(gold)} pairs",
        )
    language, pivot = embed(pair.source), embed(pair.target)[gold[:, 1]]
    found, outcomes, scores = measured(language, pivot, progress)
    text = "".join(f"{number}\n" for number in found)
    return Computed(text, "tsv", scores, np.round(outcomes, 6).tolist(), len(outcomes))


def measured(
    language: Vectors, pivot: Vectors, progress: ProgressFn
) -> tuple[Array, Array, dict[str, float]]:
    """The sentence nearest to each pivot, [N], outcomes, [N, COLUMNS], and every score.

    Args:
        language: [N, D], the evaluated language.
        pivot: [N, D], row i translates row i of `language`.
        progress: Called with the share that is done.
    """
    size = len(language)
    wide = max(measures.NEIGHBOURS, measures.MARGIN_NEIGHBOURS)
    (ahead, found), (back, _) = nearest_both(pivot, language, wide)
    units = normalised(language), normalised(pivot)
    outcomes = np.empty((size, len(COLUMNS)))
    for start in range(0, size, BLOCK):
        rows = slice(start, min(start + BLOCK, size))
        gold = np.arange(rows.start, rows.stop)
        cosines = units[1][rows] @ units[0].T
        other_way = units[0][rows] @ units[1].T
        margin = (side[:, : measures.MARGIN_NEIGHBOURS].mean(1) for side in (ahead[rows], back))
        csls = (side[:, : measures.NEIGHBOURS].mean(1) for side in (ahead[rows], back))
        columns = (
            measures.nearest_hits(cosines, gold),
            measures.nearest_hits(other_way, gold),
            measures.margin_hits(cosines, gold, *margin),
            measures.csls_hits(cosines, gold, *csls),
            measures.reciprocal_ranks(cosines, gold),
        )
        outcomes[rows] = np.stack(columns, axis=1)
        progress("comparing", rows.stop / size)
    scores = dict(zip(COLUMNS, 100 * outcomes.sum(0) / size, strict=True))  # as accuracy rounds
    scores["cka"] = 100 * measures.linear_cka(language, pivot)
    scores["hubness"] = measures.hubness(found, size)
    scores["mean_cosine"] = 100 * measures.mean_cosine(units[0])
    scores["isotropy"] = 100 * measures.isotropy(units[0])
    return found[:, 0], outcomes, {name: float(value) for name, value in scores.items()}
