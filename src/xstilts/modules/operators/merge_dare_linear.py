"""DARE (Yu et al., 2024, arXiv:2311.03099): drop values at random, rescale the rest, then sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Generator, Tensor

from xstilts.backbone.sites import ModuleWeights
from xstilts.modules.operators import Option, _updates

MERGES = True
ORDERED = True
OPTIONS: dict[str, Option] = {"density": 0.5, "seed": 0, "rank": 0}
check = _updates.check


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: Mapping[str, Option],
    generator: Generator,
) -> ModuleWeights:
    """The merged updates; `seed` decides what is dropped."""
    del generator
    density = _updates.require_density(options)
    draws = Generator().manual_seed(int(options["seed"]))

    def merge(updates: Tensor) -> Tensor:
        return _updates.weighted_sum(_updates.drop(updates, density, draws), weights)

    return _updates.merged(modules, merge, int(options["rank"]), draws=True)
