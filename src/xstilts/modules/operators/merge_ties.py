"""TIES merging (Yadav et al., 2023, arXiv:2306.01708): trim, elect a sign, average who agrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Generator, Tensor

from xstilts.backbone.sites import ModuleWeights
from xstilts.modules.operators import Option, _updates

MERGES = True
ORDERED = False
OPTIONS: dict[str, Option] = {"density": 0.5, "sign": "total", "rank": 0}
check = _updates.check


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: Mapping[str, Option],
    generator: Generator,
) -> ModuleWeights:
    """The merged updates."""
    del generator
    density, sign = _updates.require_density(options), _updates.require_sign(options)

    def merge(updates: Tensor) -> Tensor:
        return _updates.elect(updates, weights, sign)

    return _updates.merged(modules, merge, int(options["rank"]), density=density)
