"""Estimates beside what was measured: rank correlations over the modules that have both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xstilts.backbone.known import KnownBackbone
from xstilts.composition.expression import Ref
from xstilts.composition.parser import parse
from xstilts.config.specs import TaskSpec
from xstilts.config.specs.training import WITHOUT_EFFECT
from xstilts.errors import XstiltsError
from xstilts.evaluate.names import plain_label
from xstilts.evaluate.store import Score
from xstilts.files import digest
from xstilts.zoo import Entry, Zoo
from xstilts.zoo.manifest import Manifest

LEAST = 3
"""Modules below which a correlation says nothing."""
_ASIDE = WITHOUT_EFFECT | {"seed", "save_every"}
"""Settings in which trainings may differ that are averaged."""


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

    A row belongs to the module that was evaluated, or that the evaluated head was trained on, also
    where a study names it otherwise; where the library no longer has that, to the module that
    stands for the row in tables, as `xstilts xtreme` writes it. The same training with several
    seeds is averaged. One split counts, the target's own where there are rows of it.
    """
    known = [
        score
        for score in scores
        if score.task == target.name and score.main and score.fingerprint == backbone.identity.key
    ]
    splits = {score.split for score in known}
    split = target.eval_split if target.eval_split in splits else min(splits, default="")
    wanted = {entry.manifest.digest: training_of(entry.manifest) for entry in entries}
    below = _Below(set(wanted.values()), zoo, backbone)
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in known:
        if score.split == split and (training := below.training(score)):
            rows[training][score.language].append(score.value)
    shared = set.intersection(*map(set, rows.values())) if rows else set()
    if not shared:
        return {}
    means = {
        training: sum(sum(own[c]) / len(own[c]) for c in shared) / len(shared)
        for training, own in rows.items()
    }
    return {digest: means[t] for digest, t in wanted.items() if t in means}


def training_of(manifest: Manifest) -> str:
    """The same for modules whose trainings differ in nothing but their seeds and what is kept."""
    settings = manifest.training.get("settings", {})
    return digest(
        {
            "module": manifest.model_dump(
                mode="json",
                include={"name", "kind", "task", "preset", "method", "options", "composition"},
            ),
            "backbone": manifest.backbone.key,
            "parents": [parent.model_dump(mode="json") for parent in manifest.parents],
            "settings": {key: settings[key] for key in settings.keys() - _ASIDE},
            "labels": manifest.training.get("labels", ""),
            "rows": [[d.task, d.split, d.language, d.rows] for d in manifest.data],
        }
    )


class _Below:
    """Which of some trainings a score is a score of."""

    def __init__(self, wanted: set[str], zoo: Zoo, backbone: KnownBackbone) -> None:
        self.wanted, self.zoo, self.backbone = wanted, zoo, backbone
        self._entries = {entry.manifest.digest: entry.manifest for entry in zoo.entries()}
        self._found: dict[tuple[str, str], str] = {}

    def training(self, score: Score) -> str:
        """Its training; empty when it is none of them."""
        key = score.expression, plain_label(score)
        if key not in self._found:
            evaluated = self._named(score.expression)
            self._found[key] = self._down(evaluated or self._named(key[1]))
        return self._found[key]

    def _named(self, text: str) -> Manifest | None:
        """The one module that an expression names."""
        try:
            expression = parse(text)
            if isinstance(expression, Ref) and not expression.is_none:
                reference = expression.name
                known = self._entries.get(reference.removeprefix("@"))
                return known or self.zoo.find(reference, self.backbone.identity).manifest
        except XstiltsError:
            pass
        return None

    def _down(self, manifest: Manifest | None) -> str:
        """Of the first such module on the way down, as long as one stands on one."""
        while manifest is not None:
            if (training := training_of(manifest)) in self.wanted:
                return training
            below = [parent.digest for parent in manifest.parents]
            manifest = self._entries.get(below[0]) if len(below) == 1 else None
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
        first = [score for estimate, score in both if estimate == max(estimates)]
        chosen = sum(first) / len(first)  # of those that the method cannot tell apart any
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
