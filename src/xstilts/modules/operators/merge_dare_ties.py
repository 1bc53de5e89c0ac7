"""DARE's random dropping, then TIES's election of signs (arXiv:2311.03099, arXiv:2306.01708)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Generator, Tensor

from xstilts.backbone.sites import ModuleWeights
from xstilts.modules.operators import Option, _updates

MERGES = True
ORDERED = True
OPTIONS: dict[str, Option] = {"density": 0.5, "sign": "total", "seed": 0, "rank": 0}
check = _updates.check


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: Mapping[str, Option],
    generator: Generator,
) -> ModuleWeights:
    """The merged updates; `seed` decides what is dropped."""
    del generator
    density, sign = _updates.require_density(options), _updates.require_sign(options)
    draws = Generator().manual_seed(int(options["seed"]))

    def merge(updates: Tensor) -> Tensor:
        return _updates.elect(_updates.drop(updates, density, draws), weights, sign)

    return _updates.merged(modules, merge, int(options["rank"]), draws=True)
