"""Weights of an expression as a point in space, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xstilts.composition.expression import Call, Expression, Operand, Ref
from xstilts.modules.operators import OPERATORS

LIMIT = 1.5
"""Largest size of a free weight, as in LoraHub."""
STEEPEST = 7.0
"""Largest size of the coordinate behind a share: e to the power of it is about a thousand."""
DIGITS = 3


def start(calls: Sequence[Call]) -> NDArray[np.float64]:
    """The point of the weights as written."""
    point: list[float] = []
    for call in calls:
        for part in call.parts:
            if _shares(call):
                point.append(float(np.log(max(part.weight, 1e-3))))
            else:
                point.append(float(np.clip(part.weight, -LIMIT, LIMIT)))
    return np.array(point)


def bounds(calls: Sequence[Call]) -> list[list[float]]:
    """Smallest and largest coordinates of a point."""
    largest = [STEEPEST if _shares(call) else LIMIT for call in calls for _ in call.parts]
    return [[-value for value in largest], largest]


def weighted(
    expression: Expression, calls: Sequence[Call], point: NDArray[Any]
) -> tuple[Expression, list[float]]:
    """The expression with the weights of a point, and those of them that are free."""
    values = iter(np.asarray(point, np.float64).tolist())
    weights: list[list[float]] = []
    loose: list[float] = []
    for call in calls:
        own = [next(values) for _ in call.parts]
        weights.append(shares(own) if _shares(call) else free(own))
        if not _shares(call):
            loose += weights[-1]
    return replaced(expression, iter(weights)), loose


def groups(expression: Expression) -> Iterator[Call]:
    """The calls whose parts have weights, outermost first."""
    if isinstance(expression, Ref):
        return
    if OPERATORS.get(expression.operator).MERGES:
        yield expression
    for part in expression.parts:
        yield from groups(part.expression)


def _shares(call: Call) -> bool:
    """Whether the weights of its parts are positive and sum to one; others are free."""
    operator = OPERATORS.get(call.operator)
    return operator.MERGES and operator.SHARES


def replaced(expression: Expression, weights: Iterator[list[float]]) -> Expression:
    """The expression with new weights in the calls of `groups`, in that order."""
    if isinstance(expression, Ref):
        return expression
    parts = expression.parts
    own = [part.weight for part in parts]
    if OPERATORS.get(expression.operator).MERGES:
        own = next(weights)
    inner = [replaced(part.expression, weights) for part in parts]
    pairs = zip(inner, own, strict=True)
    return Call(expression.operator, tuple(Operand(e, w) for e, w in pairs), expression.options)


def shares(values: list[float]) -> list[float]:
    """Positive weights that sum to one exactly in their decimals, by softmax."""
    powers = np.exp(np.array(values) - max(values))
    least = 10**-DIGITS
    rounded = [max(least, round(float(power / powers.sum()), DIGITS)) for power in powers]
    largest = int(np.argmax(rounded))
    rest = sum(weight for number, weight in enumerate(rounded) if number != largest)
    rounded[largest] = round(1.0 - rest, DIGITS)
    return rounded


def free(values: list[float]) -> list[float]:
    """Weights between plus and minus `LIMIT`, none of them zero."""
    clipped = [round(float(np.clip(value, -LIMIT, LIMIT)), DIGITS) for value in values]
    return [weight or 10**-DIGITS for weight in clipped]
