"""Average: the weighted mean of modules, weights summing to one.

LoRA modules are averaged as updates, exactly, by concatenating ranks; the option `rank` cuts the
result. Bottleneck adapters and full encoders are averaged parameter by parameter, which for
adapters is not the mean of their functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator

from xstilts.errors import UsageError
from xstilts.modules.operators import MergeOptions, NoOptions
from xstilts.modules.operators import sum as module_sum
from xstilts.modules.operators._updates import summed
from xstilts.modules.weights import ModuleWeights

SHARES = True
Options = MergeOptions


def combine(
    modules: Sequence[ModuleWeights],
    weights: Sequence[float],
    options: Options,
    generator: Generator,
) -> ModuleWeights:
    """The mean; parts without weights count the same.

    Raises:
        UsageError: Weights are given and do not sum to one.
    """
    weights = shares(weights)
    if options.rank:
        return summed(modules, weights, options.rank)
    return module_sum.combine(modules, weights, NoOptions(), generator)


def shares(weights: Sequence[float]) -> Sequence[float]:
    """Weights that sum to one: those given, or equal ones where none is.

    Raises:
        UsageError: Those given do not sum to one.
    """
    if all(weight == 1.0 for weight in weights):
        return [1.0 / len(weights)] * len(weights)
    if abs(sum(weights) - 1.0) > 1e-6:
        raise UsageError(
            f"the weights of average sum to {sum(weights):g}, not 1",
            hint="Write a sum for that: a*0.5 + b*0.9.",
        )
    return weights
