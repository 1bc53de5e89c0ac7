"""Estimates beside what was measured: rank correlations over the modules that have both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xstilts.backbone.known import KnownBackbone
from xstilts.composition.expression import Ref
from xstilts.composition.parser import parse
from xstilts.config.specs import TaskSpec
from xstilts.errors import XstiltsError
from xstilts.evaluate.names import plain_label
from xstilts.evaluate.store import Score
from xstilts.zoo import Entry, Zoo

LEAST = 3
"""Modules below which a correlation says nothing."""


@dataclass(frozen=True)
class Agreement:
    """How one estimate orders the modules, beside the measured order.

    Attributes:
        modules: How many have both values.
        spearman: Of the two orders, -1..1.
        kendall: tau-b, -1..1.
        regret: Percent of the best measured score that is lost by taking the first of the estimate.
    """

    method: str
    modules: int
    spearman: float
    kendall: float
    regret: float


def known_results(
    scores: Sequence[Score],
    target: TaskSpec,
    entries: Sequence[Entry],
    zoo: Zoo,
    backbone: KnownBackbone,
) -> dict[str, float]:
    """Module digest to its mean main score on the target, over the languages that all have.

    A row belongs to a module when the module alone stands for it in tables, as `xstilts xtreme`
    writes it; seeds are averaged. One split counts, the target's own where there are rows of it.
    """
    wanted = {entry.manifest.digest for entry in entries}
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, str] = {}
    known = [
        score
        for score in scores
        if score.task == target.name and score.main and score.fingerprint == backbone.identity.key
    ]
    splits = {score.split for score in known}
    split = target.eval_split if target.eval_split in splits else min(splits, default="")
    for score in known:
        if score.split != split:
            continue
        label = plain_label(score)
        if label not in names:
            names[label] = _digest(label, zoo, backbone)
        if names[label] in wanted:
            rows[names[label]][score.language].append(score.value)
    if not rows:
        return {}
    shared = set.intersection(*(set(languages) for languages in rows.values()))
    return {
        digest: sum(sum(own[c]) / len(own[c]) for c in shared) / len(shared)
        for digest, own in rows.items()
        if shared
    }


def _digest(label: str, zoo: Zoo, backbone: KnownBackbone) -> str:
    """The digest of the module that a label names; empty when it names none."""
    try:
        expression = parse(label)
        if isinstance(expression, Ref) and not expression.is_none:
            return zoo.find(expression.name, backbone.identity).manifest.digest
    except XstiltsError:
        return ""
    return ""


def agreement(
    pairs: Mapping[str, Sequence[tuple[float | None, float | None]]],
) -> list[Agreement]:
    """Correlations of each method's estimates with the measured scores.

    Args:
        pairs: Method to (estimate, score) of each module; None where there is none.
    """
    result = []
    for method, values in pairs.items():
        both = [(a, b) for a, b in values if a is not None and b is not None]
        if len(both) < LEAST:
            continue
        from scipy import stats  # takes a second

        estimates, measured = zip(*both, strict=True)
        if len(set(estimates)) < 2 or len(set(measured)) < 2:
            continue
        best = max(measured)
        chosen = max(both)[1]
        result.append(
            Agreement(
                method,
                len(both),
                float(stats.spearmanr(estimates, measured).statistic),
                float(stats.kendalltau(estimates, measured).statistic),
                100 * (best - chosen) / best if best else 0.0,
            )
        )
    return result
