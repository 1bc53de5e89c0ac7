"""Retrieval tasks: both sides embedded, compared by the task's rule, scored (protocol section 5).

The metric says which: the nearest sentence of each pivot sentence, mined pairs, or candidates
ranked for each query.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xstilts.config.progress import ProgressFn
from xstilts.data.examples import Example
from xstilts.data.pairs import BitextPair
from xstilts.errors import UsageError
from xstilts.evaluate.request import Computed
from xstilts.evaluate.retrieval.mining import (
    Candidate,
    extract,
    mine_texts,
    optimize_threshold,
    pivot_order,
)
from xstilts.evaluate.retrieval.neighbours import Vectors, nearest, recall
from xstilts.tasks.formats.retrieval import Options
from xstilts.tasks.metrics import METRICS, Metric

Embed = Callable[[Sequence[Example]], Vectors]
"""Sentence vectors of examples."""


def retrieve(
    metric: str,
    pair: BitextPair,
    dev: BitextPair | None,
    embed: Embed,
    settings: Options,
    language: str,
    progress: ProgressFn,
) -> Computed:
    """Evaluate a retrieval task.

    Args:
        metric: Its name; it says how sentences are searched.
        pair: Both sides and what belongs together.
        dev: What a mining threshold is tuned on; `pair` itself when None.
        embed: Gives sentence vectors.
        settings: How sentences are compared.
        language: Evaluated language.
        progress: Called with the share of a search that is done.

    Raises:
        UsageError: The metric is not one of a retrieval task.
    """
    scorer = METRICS.get(metric)
    if scorer.SEARCH == "nearest":
        return _nearest(scorer, pair, embed, language)
    if scorer.SEARCH == "pairs":
        return _mined(scorer, pair, dev or pair, embed, settings, language, progress)
    if scorer.SEARCH == "ranking":
        return _ranked(scorer, pair, embed, settings, language, progress)
    known = ", ".join(name for name in METRICS if METRICS.get(name).SEARCH)
    raise UsageError(f"metric {metric} scores no retrieval", hint=f"Known: {known}.")


def _nearest(metric: Metric, pair: BitextPair, embed: Embed, language: str) -> Computed:
    """Top-1 accuracy with the pivot side as queries, in the order of its sorted lines."""
    order = pivot_order([example.fields["text"] for example in pair.target])
    gold = {target: source for source, target in pair.gold}
    queries = embed(pair.target)[np.array(order)]
    _, found = nearest(queries, embed(pair.source))
    predicted = [str(int(row[0])) for row in found]
    wanted = [str(gold[number]) for number in order]
    return Computed(
        "".join(f"{line}\n" for line in predicted),
        "tsv",
        metric.compute(predicted, wanted, language=language),
        metric.outcomes(predicted, wanted, language=language),
        len(wanted),
    )


def _mined(
    metric: Metric,
    pair: BitextPair,
    dev: BitextPair,
    embed: Embed,
    settings: Options,
    language: str,
    progress: ProgressFn,
) -> Computed:
    """F1 of pairs mined with the threshold that is best on `dev`.

    `threshold` and, where it was tuned on another split, `validation_f1` stand among the scores.
    """
    extra: dict[str, float] = {}
    candidates = None
    threshold = settings.threshold
    if threshold is None:
        tuned = _candidates(dev, embed, settings, progress)
        threshold = optimize_threshold(tuned, dev.gold)
        if dev is pair:
            candidates = tuned
        else:
            kept = extract(tuned, threshold)
            scores = metric.compute(kept, dev.gold, language=language)
            extra[f"validation_{metric.MAIN}"] = scores[metric.MAIN]
    if candidates is None:
        candidates = _candidates(pair, embed, settings, progress)
    if settings.index != "exact":
        sides = embed(pair.source), embed(pair.target)
        extra["index_recall"] = 100 * recall(*sides, settings.neighbours, settings.index)
    found = extract(candidates, threshold)
    ids = [(pair.source[s].id, pair.target[t].id) for s, t in found]
    scores = metric.compute(ids, pair.gold_ids, language=language)
    return Computed(
        "".join(f"{source}\t{target}\n" for source, target in ids),
        "tsv",
        {**scores, "threshold": threshold, **extra},
        metric.outcomes(ids, pair.gold_ids, language=language),
        len(pair.gold),
    )


def _candidates(
    pair: BitextPair, embed: Embed, settings: Options, progress: ProgressFn
) -> list[Candidate]:
    return mine_texts(
        [example.fields["text"] for example in pair.source],
        [example.fields["text"] for example in pair.target],
        embed(pair.source),
        embed(pair.target),
        settings.neighbours,
        settings.margin,
        settings.direction,
        progress=progress,
        index=settings.index,
    )


def _ranked(
    metric: Metric,
    pair: BitextPair,
    embed: Embed,
    settings: Options,
    language: str,
    progress: ProgressFn,
) -> Computed:
    """Mean average precision of the first candidates of each source row."""
    golds: list[list[str]] = [[] for _ in pair.source]
    for source, target in pair.gold:
        golds[source].append(pair.target[target].id)
    depth = settings.depth
    _, found = nearest(embed(pair.source), embed(pair.target), depth, progress)
    ranked = [[pair.target[int(number)].id for number in row] for row in found]
    options: dict[str, Any] = {"language": language, "k": depth}
    answers = {e.id: ids for e, ids in zip(pair.source, ranked, strict=True)}
    return Computed(
        json.dumps(answers, ensure_ascii=False, indent=0, sort_keys=True) + "\n",
        "json",
        metric.compute(ranked, golds, **options),
        metric.outcomes(ranked, golds, **options),
        len(golds),
    )
