"""An answer as a page of a report: verdict, tables with pictures, settings, limits, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from xstilts.config.load import short_name
from xstilts.evaluate.score_rows import ALIGNMENT
from xstilts.evaluate.stats import (
    HIGHER,
    LOWER,
    THESE_RUNS,
    UNTESTED,
    Verdict,
    detectable,
    shown_p,
)
from xstilts.grid.answer.analysis import TABLE_DRAWS, Comparison, StudyAnswer
from xstilts.grid.answer.study_results import StudyResults
from xstilts.grid.answer_spec import ORDERED, TableSpec
from xstilts.report.figures import named
from xstilts.report.intervals import EffectInterval, curves, forest
from xstilts.report.model import (
    Figure,
    Item,
    KeyFinding,
    Report,
    ReportSummary,
    Section,
    Table,
    Value,
    interval_text,
    number,
    period,
    signed,
    tested,
)
from xstilts.report.plain import as_json

DEFAULT = "default"
"""What a backbone that the study does not name is called."""


def answer_report(answer: StudyAnswer, warning: str = "") -> Report:
    """The answer report; a warning, such as that its world is artificial, stands at its top."""
    study_results = answer.study_results
    study = study_results.study
    sections = [_verdict_section(answer)]
    sections += [_table_section(answer, n) for n in range(len(answer.tables))]
    sections += [
        _settings_section(answer),
        _limits_section(answer),
        _missing_section(study_results),
    ]
    sections.append(_provenance_section(study_results))
    summary = ReportSummary(
        study.question, (KeyFinding("Answer", (answer.line,), tone=_tone(answer)),)
    )
    return Report(study.title or study.name, (), warning, tuple(sections), summary)


def _tone(answer: StudyAnswer) -> str:
    claim = answer.main.verdict.claim if answer.main.verdict else ""
    return {HIGHER: "gain", LOWER: "loss"}.get(claim, "")


def record(answer: StudyAnswer, report: Report) -> dict[str, Any]:
    """The answer as JSON values: verdicts in full beside the tables."""
    study = answer.study_results.study
    return {
        **as_json(report),
        "schema": "xstilts.answer/1",
        "study": study.name,
        "question": study.question,
        "answer": answer.words,
        "line": answer.line,
        "verdict": _plain(answer.main),
        "verdicts": [
            {"title": table.title, "by": table.by, "lines": [_plain(line) for line in lines]}
            for table, lines in answer.tables
        ],
        "settings": dict(_settings(answer)),
        "limits": _limits(answer),
        "missing": [line[0] for line in _missing(answer.study_results)],
        "unfinished": [f"{c.name}: {status}" for c, status in answer.study_results.lacking],
        "cells": len(answer.study_results.cells),
    }


def _plain(comparison: Comparison) -> dict[str, Any]:
    verdict = comparison.verdict
    if verdict is None:
        return {"names": comparison.names, "words": UNTESTED, "why": comparison.why}
    least = detectable(verdict) if verdict.decided else None
    more = {"words": verdict.claim, "detectable": least}
    return {"names": comparison.names, **asdict(verdict), **more}


# -- sections


def _verdict_section(answer: StudyAnswer) -> Section:
    comparison = answer.main
    if comparison.verdict is None:
        return Section("verdict", "Verdict", absent=answer.line)
    verdict = comparison.verdict
    rows: tuple[tuple[Item, ...], ...] = (
        ("answer", answer.words),
        ("compared", f"{verdict.ours} minus {verdict.theirs}"),
        ("on", verdict.what),
        ("difference, points", Value(signed(verdict.effect), verdict.effect)),
        ("95 % interval", interval_text(verdict)),
        ("p", UNTESTED if verdict.p is None else Value(shown_p(verdict.p), verdict.p)),
        ("test", verdict.test),
        ("could have seen, points", _could_have_seen(verdict)),
        ("deviation over seeds", _deviation(verdict)),
        ("tasks and languages", verdict.units),
        ("examples", verdict.n),
        ("seeds of either side", f"{verdict.seeds[0]}, {verdict.seeds[1]}"),
        *(("note", note) for note in verdict.notes),
    )
    intro = (
        "The comparison that the study names before anything is run; it is one test, so nothing "
        "is adjusted. Intervals are over examples and, from three seeds on, over seeds. Four in "
        "five such studies would have seen a difference of the size that this one could have seen."
    )
    table = Table(
        "The verdict", ("", "value"), rows, names=2, scope=_scope(answer), scoped=("value",)
    )
    return Section("verdict", "Verdict", intro, (table,))


def _could_have_seen(verdict: Verdict) -> Value:
    return number(detectable(verdict) if verdict.decided else None)


def _scope(answer: StudyAnswer) -> str:
    """What the answer's numbers hold for, where too few seeds were trained."""
    lines = [answer.main, *(line for _, lines in answer.tables for line in lines)]
    limited = any(line.verdict and line.verdict.these_runs for line in lines)
    return THESE_RUNS if limited else ""


def _deviation(verdict: Verdict) -> str:
    return f"{verdict.sd:.1f}" if verdict.sd is not None else "not given below three seeds"


def _table_section(answer: StudyAnswer, place: int) -> Section:
    spec, lines = answer.tables[place]
    key = f"table-{place + 1}"
    if not any(line.verdict for line in lines):
        why = "; ".join(dict.fromkeys(line.why for line in lines)) or "there is nothing to compare"
        return Section(key, spec.title, absent=f"Not compared: {why}.")
    plain = not (spec.growth or spec.contrast)
    means = ("ours", "theirs") if plain else ()
    columns = (
        *spec.by,
        *means,
        "difference",
        "verdict",
        "Holm p",
        "could have seen, alone",
        "task and language",
        "seeds",
    )
    rows = tuple(_line(line, plain=plain) for line in lines)
    note = _compared(answer, spec, lines)
    table = Table(
        spec.title,
        columns,
        rows,
        note=note,
        names=len(spec.by),
        scope=_scope(answer),
        scoped=("difference",),
    )
    pictures = (_picture(spec, lines, key),) if spec.picture else ()
    return Section(key, spec.title, "", (table,), pictures)


def _compared(answer: StudyAnswer, spec: TableSpec, lines: Sequence[Comparison]) -> str:
    """What a table's differences are, in words."""
    if spec.contrast and answer.spec.contrast:
        contrast = answer.spec.contrast
        what = f"Differences of differences: {contrast.first} minus {contrast.second}."
    elif spec.growth:
        what = "What the last backbone gains minus what the first does."
    else:
        pairs = {(line.verdict.ours, line.verdict.theirs) for line in lines if line.verdict}
        said = [f"{ours} minus {theirs}" for ours, theirs in sorted(pairs)]
        what = f"Differences are {said[0]}." if len(said) == 1 else "Differences are ours − theirs."
    return (
        f"{what} Points with 95 % intervals; p-values are adjusted over this table (Holm), but not "
        "what a line could have seen."
    )


def _line(comparison: Comparison, *, plain: bool) -> tuple[Item, ...]:
    names = tuple(name or DEFAULT for name in comparison.names)
    means = (number(comparison.ours), number(comparison.theirs)) if plain else ()
    verdict = comparison.verdict
    if verdict is None:
        blank = number(None)
        return (
            *names,
            *means,
            Value("–", note=comparison.why),
            comparison.why,
            blank,
            blank,
            blank,
            "",
        )
    adjusted = None if verdict.p_holm is None else Value(shown_p(verdict.p_holm), verdict.p_holm)
    seeds = " / ".join(map(str, verdict.seeds))
    least = _could_have_seen(verdict)
    return (*names, *means, tested(verdict), verdict.claim, adjusted, least, verdict.units, seeds)


def _picture(spec: TableSpec, lines: Sequence[Comparison], key: str) -> Figure:
    """Intervals of a table: lines over an ordered facet, else one below the other."""
    found: dict[str, list[EffectInterval]] = {}
    ordered = spec.by[-1] in ORDERED
    for line in lines:
        verdict = line.verdict
        if verdict is None:
            continue
        names = [name or DEFAULT for name in line.names]
        effect = verdict.effect
        low, high = (effect if end is None else end for end in (verdict.low, verdict.high))
        label, at = (", ".join(names[:-1]), names[-1]) if ordered else ("", ", ".join(names))
        found.setdefault(label, []).append(EffectInterval(at, effect, low, high))
    name, up = named("answer", key), "difference, points"
    if ordered:
        return curves(name, spec.title, found, spec.by[-1], up)
    return forest(name, spec.title, found[""], up)


def _settings_section(answer: StudyAnswer) -> Section:
    rows = tuple((name, value) for name, value in _settings(answer))
    return Section(
        "settings", "Settings", "", (Table("What was run", ("setting", "value"), rows, names=2),)
    )


def _settings(answer: StudyAnswer) -> list[tuple[str, str]]:
    study_results = answer.study_results
    study, scores = study_results.study, study_results.scores
    names = dict.fromkeys(f"{s.backbone} ({s.fingerprint[:12]})" for s in scores)
    rows = [("backbones", ", ".join(names))]
    rows += [("row", _row(answer, name)) for name in study_results.rows]
    for title, tasks in (("targets", study.targets), ("bitexts", study.alignment)):
        known = [_task(study_results, task) for task in tasks]
        rows += [(title, "; ".join(text for text in known if text))] if any(known) else []
    if study.depths:
        shown = ", ".join(f"{100 * depth:g} %" for depth in study.depths)
        at = f"{100 * answer.spec.depth:g} %"
        rows.append(("depths of retrieval", f"{shown}; the verdict at {at}"))
    if study.alignment:
        rows.append(("measure of alignment", answer.spec.measure))
    for name in ("intermediate", "target", "language"):
        section = getattr(study, name)
        if section is not None:
            changed = {k: v for k, v in section.model_dump(exclude_defaults=True).items() if v}
            rows.append((f"training, {name}", f"{section.method}: {changed or 'defaults'}"))
    rows.append(("seeds", ", ".join(map(str, study.seeds))))
    least = min(answer.draws, TABLE_DRAWS)
    rows.append(
        ("draws of the bootstrap", f"{answer.draws}; in tables {least}, more for many lines")
    )
    if when := period(result.written for result in study_results.results):
        rows.append(("evaluated", when))
    return [*rows, ("xstilts", version("xstilts"))]


def _row(answer: StudyAnswer, name: str) -> str:
    """A row of the study: what it trains on or composes, and what it changes."""
    row = next(r for r in answer.study_results.study.intermediates if r.name == name)
    if name == "none":
        return "none: the untouched backbone"
    more = f", {row.settings}" if row.settings else ""
    tasks = ", ".join(map(short_name, (row.tasks or row.name).split(",")))
    return f"{name}: {row.compose or tasks}{more}"


def _task(study_results: StudyResults, task: str) -> str:
    own = [s for s in study_results.scores if s.task == task and (s.main or s.group == ALIGNMENT)]
    if not own:
        return ""
    languages = dict.fromkeys(score.language for score in own)
    sizes = sorted({score.n for score in own})
    size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f"{task} ({', '.join(languages)}; {size} examples each)"


def _limits_section(answer: StudyAnswer) -> Section:
    rows = tuple((text,) for text in _limits(answer))
    return Section("limits", "Limits", "", (Table("What this does not say", ("limit",), rows),))


def _limits(answer: StudyAnswer) -> list[str]:
    study_results = answer.study_results
    spec, study = answer.spec, study_results.study
    lost = [row for row in (*spec.ours, *spec.theirs) if row not in study_results.rows]
    found = list(spec.limits)
    found += [f"The answer is without {', '.join(lost)}, which have no results."] if lost else []
    rows = [row for table in spec.tables if table.controls for row in table.theirs]
    idle = [row for row in rows if row not in study_results.rows]
    found += [f"These controls have no results: {', '.join(idle)}."] if idle else []
    if len(study.seeds) < 3:
        found.append("Fewer than three seeds: intervals are over examples only.")
    several = len(spec.ours) - len([row for row in lost if row in spec.ours])
    if several > 1:
        found.append(
            "The mean is over the rows named, not over all rows there could be: the interval "
            "says nothing of other ones."
        )
    found.append(
        "Languages and tasks are fixed, not drawn: the interval says nothing of other ones."
    )
    return found


def _missing_section(study_results: StudyResults) -> Section:
    rows = _missing(study_results)
    return Section(
        "missing",
        "Failed and missing",
        "",
        (Table("What the answer is without", ("what", "why"), rows),),
        absent="" if rows else "Every cell of the study is done.",
    )


def _missing(study_results: StudyResults) -> tuple[tuple[str, str], ...]:
    lacking = [
        (cell.name, f"cell {cell.short} is {status}") for cell, status in study_results.lacking
    ]
    return (*study_results.left_out, *lacking)


def _provenance_section(study_results: StudyResults) -> Section:
    rows = tuple((cell.name, cell.kind, cell.short) for cell in study_results.cells)
    return Section(
        "provenance",
        "Cells",
        "Every number comes from the stored predictions of these cells; `xstilts report` lists "
        "each score with its file.",
        (Table("Cells of the study", ("cell", "kind", "key"), rows, names=3, long=True),),
        closed=True,
    )
