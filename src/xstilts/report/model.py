"""What a report is made of, whatever it is written as: sections of tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from xstilts.evaluate.stats import NOTHING, Verdict

MINUS = "−"
DASH = "–"
"""Stands where there is no number."""


@dataclass(frozen=True)
class Value:
    """A cell of a table.

    Attributes:
        text: What is shown.
        order: What it is sorted by; None means its text.
        subtext: A second, small line.
        note: Said on request: where the number comes from.
        shade: -1..1, for colouring gains and losses; None for none.
        significant: Whether a difference was detected; None where nothing was tested.
    """

    text: str
    order: float | None = None
    subtext: str = ""
    note: str = ""
    shade: float | None = None
    significant: bool | None = None

    def __str__(self) -> str:
        return f"{self.text} {self.subtext}".strip()


Item = Value | str | int | float | None


@dataclass(frozen=True)
class Table:
    """Column names and rows; the first `names` columns are texts that name the row.

    Attributes:
        task: Title of the column of tasks that all of it is about; empty for several.
        scope: What the numbers of some columns hold for, such as `these runs only, …`.
        scoped: The starts of these columns' names.
        data: What was scored, for a caption: splits and numbers of examples.
        across: What columns stand for, `task` or `expression`; `of` says which, by column.
        pairs: Columns of scores to those of their differences; the page shows both in one cell.
        long: Whether it has a row for each score; pages make its rows as they are looked at, and
            papers leave it out.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Item, ...], ...]
    note: str = ""
    names: int = 1
    task: str = ""
    scope: str = ""
    scoped: tuple[str, ...] = ()
    data: str = ""
    across: str = ""
    of: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, str] = field(default_factory=dict)
    long: bool = False

    @property
    def heads(self) -> tuple[str, ...]:
        """The column names as they are shown, with the scope."""
        return tuple(
            f"{name} ({self.scope})" if self.scope and name.startswith(self.scoped) else name
            for name in self.columns
        )

    @property
    def scope_note(self) -> str:
        """The scope as a sentence, for a caption; empty where there is none."""
        return f"Differences: {self.scope}." if self.scope else ""

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        items = (row[column] for row in self.rows)
        return column >= self.names and any(isinstance(i, Value | int | float) for i in items)

    @cached_property
    def shown(self) -> Table:
        """Without the columns, and the rows of numbers, in which nothing stands."""
        kept = [n for n in range(len(self.columns)) if any(_said(row[n]) for row in self.rows)]
        numbers = [n for n in kept if self.numeric(n)]
        rows = [r for r in self.rows if not numbers or any(_said(r[n]) for n in numbers)]
        return replace(
            self,
            columns=tuple(self.columns[n] for n in kept),
            rows=tuple(tuple(row[n] for n in kept) for row in rows),
            names=sum(n < self.names for n in kept),
        )


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        name: File name without its ending.
        title: Shown above it.
        text: What it shows, for who cannot see it.
        draw: Draws into an empty matplotlib figure.
        width, height: In inches.
        inline: Whether the page shows it; the others are only written by `--figures`.
        panel: Whether it is one of several small ones, which share a legend.
        task: Title of the column of tasks that it is about; empty for several.
    """

    name: str
    title: str
    text: str
    draw: Callable[[Any], None]
    width: float = 7.0
    height: float = 3.6
    inline: bool = True
    panel: bool = False
    task: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report; `absent` says in one line why there is nothing in it.

    Attributes:
        closed: Whether the page shows it on request.
        legend: What the series of its panels are called, in their order.
    """

    key: str
    title: str
    intro: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    absent: str = ""
    closed: bool = False
    legend: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choices:
    """What a page can be narrowed to.

    Attributes:
        columns: Title of a column of tasks to its task and its block, -1 for none.
        expressions: What is compared with a baseline.
        languages: Code to what is known of it: `name`, `script`, `family`, `tier`.
        blocks: That sentences or alignment are taken from.
    """

    columns: Mapping[str, tuple[str, int]]
    expressions: tuple[str, ...]
    languages: Mapping[str, Mapping[str, str]]
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True)
class KeyFinding:
    """Statements of one kind, such as what helps.

    Attributes:
        tone: `gain`, `loss` or empty.
    """

    title: str
    lines: tuple[str, ...]
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class ReportSummary:
    """What a reader with a minute takes along: the question, its answer, the best of each."""

    question: str
    findings: tuple[KeyFinding, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole report."""

    title: str
    about: tuple[str, ...]
    warning: str
    sections: tuple[Section, ...]
    summary: ReportSummary | None = None
    choices: Choices | None = None


def _said(item: Item) -> bool:
    """Whether anything stands in a cell; a dash is nothing."""
    return item is not None and str(item) not in ("", DASH)


def number(value: float | None, digits: int = 1) -> Value:
    """A number, or a dash where there is none."""
    if value is None:
        return Value(DASH, order=None)
    return Value(_minus(f"{value:.{digits}f}"), order=value)


def difference(value: float | None, *, note: str = "", full: float = 20.0) -> Value:
    """A signed number that is coloured; full colour at `full` points."""
    if value is None:
        return Value(DASH, note=note)
    shade = max(-1.0, min(1.0, value / full))
    return Value(signed(value), order=value, note=note, shade=shade)


def signed(value: float) -> str:
    """`+1.2`, `−1.2` or `0.0`; `+0.04`, since the end of an interval is on one side of zero."""
    text = f"{value:+.1f}"
    if not text.strip("+-0."):
        text = f"{value:+.2f}"
    return _minus(text) if text.strip("+-0.") else "0.0"


def period(times: Iterable[str]) -> str:
    """The first and the last of ISO times to the minute, in UTC, a day once; nothing without."""
    known = sorted(time[:16].replace("T", " ") for time in times if time)
    if not known:
        return ""
    first, last = known[0], known[-1]
    end = last[11:] if first[:10] == last[:10] else last
    return f"{first} UTC" if first == last else f"{first} to {end} UTC"


def _minus(text: str) -> str:
    """With a minus sign, and without one before a zero."""
    return text[1:] if text.strip("-0.") == "" and text[0] == "-" else text.replace("-", MINUS)


def tested(verdict: Verdict, *, full: float = 20.0) -> Value:
    """The effect of a comparison with its interval below."""
    shade = max(-1.0, min(1.0, verdict.effect / full))
    significant = verdict.claim != NOTHING if verdict.decided else None
    note = "; ".join((str(verdict), verdict.test, *verdict.notes))
    return Value(
        signed(verdict.effect),
        order=verdict.effect,
        subtext=interval_text(verdict),
        note=note,
        shade=shade,
        significant=significant,
    )


def interval_text(verdict: Verdict) -> str:
    """`[+1.1, +5.0]`, or nothing."""
    if verdict.low is None or verdict.high is None:
        return ""
    return f"[{signed(verdict.low)}, {signed(verdict.high)}]"
