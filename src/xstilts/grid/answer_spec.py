"""How the answer to a study's question is read off its runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xstilts.config.specs import Spec

Facet = Literal[
    "row",
    "reference",
    "task",
    "domain",
    "language",
    "script",
    "family",
    "latin",
    "seen",
    "tier",
    "depth",
    "step",
    "backbone",
]
GROUPINGS: tuple[Facet, ...] = ("script", "family", "latin", "seen", "tier")
"""Facets that are groups of languages."""
ORDERED: tuple[Facet, ...] = ("depth", "step", "backbone")
"""Facets whose values have an order, so that a picture draws lines over them."""


class ContrastSpec(Spec):
    """Two groups of languages whose gains are set against each other.

    Attributes:
        by: What groups them.
        first, second: Names of the groups; the effect is the first's gain minus the second's.
    """

    by: Literal["script", "family", "latin", "seen", "tier"]
    first: str
    second: str


class TableSpec(Spec):
    """One table of comparisons, with a picture of them.

    Attributes:
        title: Above it.
        by: What its lines are told apart by; an ordered facet comes last.
        ours, theirs: Instead of the answer's.
        tasks: Instead of the answer's.
        contrast: Whether each line is a difference of differences, as the answer's is.
        growth: Whether each line is the last backbone's difference minus the first's.
        controls: Whether each line is a control's, which the answer names beside its verdict.
        picture: Whether it is drawn.
    """

    title: str
    by: list[Facet] = Field(min_length=1, max_length=3)
    ours: list[str] = Field(default_factory=list)
    theirs: list[str] = Field(default_factory=list)
    tasks: list[str] = Field(default_factory=list)
    contrast: bool = False
    growth: bool = False
    controls: bool = False
    picture: bool = True


class AnswerSpec(Spec):
    """What decides a study's verdict, and the tables beside it.

    The verdict is one comparison that is written down before anything is run: the mean of some
    rows minus that of others, over languages, then over tasks.

    Attributes:
        ours, theirs: Rows; their means are compared. No `ours` means all that are not `theirs`.
        tasks: What it is about; empty means all that is evaluated.
        zero_shot: Leave out the languages that heads were trained on.
        depth: Share of the blocks at which retrieval counts; one of the study's depths.
        measure: Of a bitext's alignment.
        contrast: Makes it a difference of differences between two groups of languages.
        growth: Makes it what the last backbone named gains minus what the first does: name the
            smallest first.
        higher, lower, nothing: The answer in words, for each outcome.
        tables: In the order of the answer report.
        limits: What the answer does not say, a sentence each.
    """

    ours: list[str] = Field(default_factory=list)
    theirs: list[str] = Field(min_length=1)
    tasks: list[str] = Field(default_factory=list)
    zero_shot: bool = False
    depth: float = -1.0
    measure: Literal["from_pivot", "to_pivot", "margin", "csls", "mrr"] = "from_pivot"
    contrast: ContrastSpec | None = None
    growth: bool = False
    higher: str
    lower: str
    nothing: str
    tables: list[TableSpec] = Field(default_factory=list)
    limits: list[str] = Field(default_factory=list)
