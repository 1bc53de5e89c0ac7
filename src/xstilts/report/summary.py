"""What a report comes to, in words: what helps, what hurts, and the best row for each target."""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.evaluate.stats import HIGHER, LOWER, NOTHING, THESE_RUNS, Verdict
from xstilts.report.intervals import EffectInterval, forest
from xstilts.report.material import Column, Material
from xstilts.report.model import (
    Figure,
    Item,
    KeyFinding,
    ReportSummary,
    Table,
    Value,
    difference,
    interval_text,
    number,
    signed,
    tested,
)

MOST = 6
"""Expressions that a statement lists; the main table has all."""
DRAWN = 10
"""Expressions that the picture has from either end."""
NAMED = 4
"""Expressions that the question names."""


def summary(material: Material) -> ReportSummary:
    """The question of the stored scores, what their comparisons say, the best of each target."""
    return ReportSummary(
        _question(material), _findings(material), _best(material), _picture(material)
    )


def _question(material: Material) -> str:
    others, tasks = material.others, dict.fromkeys(c.task for c in material.columns)
    codes = {code for column in material.columns for code in column.languages}
    on = f"{_count(len(tasks), 'task')} in {_count(len(codes), 'language')}"
    if not others:
        return f"How well do {_listed(material.labels)} do on {on}?"
    verb = "does" if len(others) == 1 else "do"
    return f"What {verb} {_listed(others)} change over {material.baseline}, on {on}?"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    shown = [*names[:NAMED], f"{more} more"] if more > 1 else list(names)
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)


def _count(number_: int, what: str) -> str:
    return f"{number_} {what}{'' if number_ == 1 else 's'}"


# -- what helps and what hurts


def _findings(material: Material) -> tuple[KeyFinding, ...]:
    """Statements by what the widest comparison of each expression claims, the largest first."""
    kinds: dict[str, list[tuple[float, str]]] = {}
    beside = False
    for label in material.others:
        verdict = _widest(material, label)
        if verdict is not None:
            told = (-abs(verdict.effect), _line(material, label, verdict))
            kinds.setdefault(verdict.claim, []).append(told)
            beside |= verdict.claim == NOTHING and _leaves_zero_out(verdict)
    base = material.baseline
    more = f" {HOLM}" if beside else ""
    known = {
        HIGHER: ("Helps", "gain", f"Higher than {base}, after Holm's correction."),
        LOWER: ("Hurts", "loss", f"Lower than {base}, after Holm's correction."),
        NOTHING: ("No difference detected", "", f"Which is not the same as no difference.{more}"),
    }
    order = [*known, *(kind for kind in kinds if kind not in known)]
    found = []
    for kind in (kind for kind in order if kind in kinds):
        title, tone, note = known.get(kind, (_capital(kind), "", NO_CLAIM))
        lines = [line for _, line in sorted(kinds[kind])]
        left = len(lines) - MOST
        found.append(
            KeyFinding(
                title,
                (*lines[:MOST], *([f"{left} more in the main table"] if left > 0 else [])),
                note,
                tone,
            )
        )
    return tuple(found)


HOLM = "An interval that leaves zero out may not do after Holm's correction."
NO_CLAIM = "Differences between what was run. Nothing is said of the methods."


def _leaves_zero_out(verdict: Verdict) -> bool:
    return verdict.low is not None and verdict.high is not None and verdict.low * verdict.high > 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _widest(material: Material, label: str) -> Verdict | None:
    """The comparison over most tasks: the mean where it has all, else its first task."""
    names = [*material.means, *(c.name for c in material.columns if not c.lower)]
    found = (material.verdicts.get((label, name)) for name in names)
    return next((verdict for verdict in found if verdict is not None), None)


def _line(material: Material, label: str, verdict: Verdict) -> str:
    """`mnli: +5.1 points [+4.4, +5.8] on the mean of 9 tasks; higher on 8, lower on 1`."""
    where = verdict.what
    parts = f"{label}: {signed(verdict.effect)} points {interval_text(verdict)}".rstrip()
    if where not in material.means:
        return f"{parts} on {where}"
    columns = material.means[where]
    text = f"{parts} on the mean of {_count(len(columns), 'task')}"
    own = [material.verdicts.get((label, column.name)) for column in columns]
    known = [each for each in own if each is not None]
    if verdict.decided:
        up, down = (sum(v.claim == kind for v in known) for kind in (HIGHER, LOWER))
        return f"{text}; detected higher on {up} and lower on {down} of {len(known)}"
    up = sum(each.effect > 0 for each in known)
    return f"{text}; above {material.baseline} on {up} of {len(known)}"


def _picture(material: Material) -> tuple[Figure, ...]:
    """Effects with intervals, one below the other, of what is compared over the same tasks."""
    found = [(label, _widest(material, label)) for label in material.others]
    told = [(label, verdict) for label, verdict in found if verdict and verdict.low is not None]
    where = told[0][1].what if told else ""
    spans = [
        EffectInterval(label, verdict.effect, verdict.low, verdict.high)
        for label, verdict in told
        if verdict.what == where and verdict.low is not None and verdict.high is not None
    ]
    spans.sort(key=lambda span: -span.value)
    if len(spans) < 2:
        return ()
    on = f"mean of {len(material.means[where])} tasks" if where in material.means else where
    title = f"Difference to {material.baseline}, {on}"
    few = material.scope and f" ({THESE_RUNS if material.scope == THESE_RUNS else 'see below'})"
    across = f"points, with 95 % intervals{few}"
    ends = [*spans[:DRAWN], *spans[-DRAWN:]] if len(spans) > 2 * DRAWN else spans
    cut = "" if ends is spans else f", the {DRAWN} highest and lowest"
    return (forest("summary", title + cut, ends, across),)


# -- the best of each target


def _best(material: Material) -> tuple[Table, ...]:
    rows = [_best_row(material, column) for column in material.columns if column.units]
    if not rows:
        return ()
    table = Table(
        "Best row for each target",
        ("target", "languages", material.baseline, "best", "score", "Δ", "verdict"),
        tuple(rows),
        note=f"The highest of {len(material.labels)} rows each: a maximum looks better than it is.",
        scope=material.scope,
        scoped=("Δ",),
        data=material.data,
    )
    return (table,)


def _best_row(material: Material, column: Column) -> tuple[Item, ...]:
    scores = {label: material.mean(label, column.units) for label in material.labels}
    known = {label: score for label, score in scores.items() if score is not None}
    best = (min if column.lower else max)(known, key=lambda label: known[label])
    base = known.get(material.baseline_of(best))
    verdict = material.verdicts.get((best, column.name))
    gain = difference(None if base is None else known[best] - base)
    return (
        column.name,
        Value(str(len(column.units)), len(column.units)),
        number(base),
        best,
        number(known[best]),
        "" if best not in material.others else tested(verdict) if verdict else gain,
        verdict.claim if verdict else "",
    )
