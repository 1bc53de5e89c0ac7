"""What a comparison comes to, with "no difference detected" among the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from xstilts.evaluate.stats.significance import (
    holm,
)

ALPHA = 0.05
HIGHER, LOWER, NOTHING = "higher", "lower", "no difference detected"
UNTESTED = "not tested"
CONSTANT = "nothing varies"
"""Said where the difference is the same on whatever examples are drawn."""
FEW = "too few examples"
FEWEST_EXAMPLES = 5
THESE_RUNS = "these runs only, not over training"
"""Said where fewer than three seeds were trained: another training may turn the sign."""


@dataclass(frozen=True)
class Verdict:
    """What a comparison came to; points are those of the score, 0..100.

    Attributes:
        ours, theirs: Labels; the effect is ours minus theirs.
        what: What was compared, in words.
        effect: Points, mean over languages, then over tasks.
        low, high: 95 % interval; None where there is nothing to draw from.
        p: Two-sided p-value of no effect.
        p_holm: The same, adjusted for the family that is shown; None until there is one.
        test: What gave the p-value.
        n: Different examples, summed over units.
        units: Tasks and languages compared.
        seeds: Runs of ours and of theirs.
        sd: Standard deviation of the effect over seeds; None for fewer than three.
        size: Cohen's h between both means.
        wins, losses: Units where ours is higher, and lower.
        sign_p: Of the sign test over units; None for one unit.
        notes: What a reader must know.
        these_runs: Whether too few seeds were trained to say anything of training anew.
        constant: Whether nothing varies over examples and seeds, so that there is no interval.
    """

    ours: str
    theirs: str
    what: str
    effect: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    test: str = ""
    n: int = 0
    units: int = 0
    seeds: tuple[int, int] = (1, 1)
    sd: float | None = None
    size: float | None = None
    wins: int = 0
    losses: int = 0
    sign_p: float | None = None
    notes: tuple[str, ...] = ()
    these_runs: bool = False
    constant: bool = False

    @property
    def claim(self) -> str:
        """What may be said of the methods: `words`, or why nothing may."""
        if self.p is None:
            return UNTESTED
        if self.constant:
            return CONSTANT
        if 0 < self.n < FEWEST_EXAMPLES:
            return FEW
        return THESE_RUNS if self.these_runs else self.words

    @property
    def decided(self) -> bool:
        """Whether it says something of the methods."""
        return self.claim in (HIGHER, LOWER, NOTHING)

    @property
    def words(self) -> str:
        """What the test says of the runs that were compared, at level `ALPHA`.

        `higher`, `lower`, `no difference detected` or `not tested`; see `claim` for the methods.
        """
        decisive = self.p if self.p_holm is None else self.p_holm
        if decisive is None:
            return UNTESTED
        if decisive >= ALPHA or self.effect == 0:
            return NOTHING
        return HIGHER if self.effect > 0 else LOWER

    @property
    def numbers(self) -> str:
        """Effect, interval and p-values."""
        numbers = [x for x in (self.effect, self.low, self.high) if x is not None]
        # An interval's end must not look like zero when it is on one side of it.
        digits = 2 if any(0 < abs(x) < 0.05 for x in numbers) else 1
        parts = [f"{self.effect:+.{digits}f} points"]
        if self.low is not None and self.high is not None:
            parts[0] += f" [{self.low:+.{digits}f}, {self.high:+.{digits}f}]"
        if self.p is not None and not self.constant:
            parts.append(f"p {shown_p(self.p)}")
        if self.p_holm is not None and not self.constant:
            parts.append(f"Holm {shown_p(self.p_holm)}")
        return ", ".join(parts)

    def __str__(self) -> str:
        return f"{self.numbers}: {self.claim}"


def shown_p(value: float) -> str:
    """A p-value as it is printed."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def family_draws(draws: int, size: int, least: float = 0.02) -> int:
    """How many draws each bootstrap of a family needs.

    A bootstrapped p-value is never below 2 / (draws + 1), and Holm's method multiplies the smallest
    by the size of the family: with too few draws nothing could be detected, however large.

    Args:
        draws: What it has anyway.
        size: P-values that are adjusted together.
        least: An adjusted p-value that is still possible.
    """
    return max(draws, ceil(2 * size / least))


def family(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts that are shown together, their p-values adjusted by Holm's method.

    Where nothing varies there is nothing to test, which makes the family no larger.
    """
    tested = [
        at for at, verdict in enumerate(verdicts) if verdict.p is not None and not verdict.constant
    ]
    adjusted = holm([verdicts[place].p or 0.0 for place in tested])
    result = list(verdicts)
    for place, value in zip(tested, adjusted, strict=True):
        result[place] = replace(result[place], p_holm=value)
    return result
