"""What a comparison could have seen."""

from __future__ import annotations

from statistics import NormalDist

from xstilts.evaluate.stats.verdict import ALPHA, Verdict

POWER = 0.8
"""Share of studies like this one that would detect the difference."""


def detectable(verdict: Verdict) -> float | None:
    """The smallest difference, in points, that four in five studies like this one would detect.

    The standard error is half the interval's width over the normal quantile; a difference is seen
    when it is (quantile of 1 - ALPHA / 2) + (quantile of POWER) errors away from zero (Cohen,
    1988). With few seeds the interval is wider than a normal one, so this errs upwards.

    Returns:
        None where the comparison has no interval, or says nothing of training anew.
    """
    if verdict.low is None or verdict.high is None or verdict.these_runs:
        return None
    seen, power = NormalDist().inv_cdf(1 - ALPHA / 2), NormalDist().inv_cdf(POWER)
    return (verdict.high - verdict.low) / 2 * (seen + power) / seen
