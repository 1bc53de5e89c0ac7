"""What `xstilts eval`, `xtreme` and `align` print: scores, or what would be computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.evaluate.cells import EvaluationJob
    from xstilts.evaluate.request import EvaluationOutcome
    from xstilts.evaluate.store import Score
    from xstilts.report.results import ScoresResult
    from xstilts.train.phases import Phase


def print_plan(
    state: State,
    plan: tuple[Sequence[tuple[EvaluationJob, bool]], Mapping[str, str]],
    ahead: Sequence[Phase],
) -> None:
    """What would be trained, which cells computed, and what is left out."""
    from collections import Counter

    planned, missing = plan
    train = [{"module": p.name, "on": str(p.base), "steps": _steps(p)} for p in ahead]
    to_do = Counter((job.label, job.task.name) for job, there in planned if not there)
    every = Counter((job.label, job.task.name) for job, _ in planned)
    cells = [
        {"expression": label, "task": task, "cells": count, "to compute": to_do[label, task]}
        for (label, task), count in every.items()
    ]

    def human() -> None:
        for title, rows in (("to be trained first", train), ("to be evaluated", cells)):
            if rows:
                values = [tuple(row.values()) for row in rows]
                state.table(tuple(rows[0]), values, title)
        print_missing(state, missing)

    state.emit({"train": train, "evaluate": cells, "missing": list(missing)}, human)


def _steps(phase: Phase) -> int:
    from xstilts.train.plan import plan_phase

    return plan_phase(phase).steps


def print_missing(state: State, missing: Mapping[str, str]) -> None:
    """Which languages were left out, and why."""
    from xstilts.evaluate.request import missing_lines

    for line in missing_lines(missing):
        state.note(line)


def print_scores(state: State, result: ScoresResult) -> None:
    """The main scores by expression and language, and what was computed or missing."""

    def human() -> None:
        for view in result.views():
            state.table(view.columns, view.rows, view.title)

    emit_outcome(state, result.outcome, human)


def emit_outcome(state: State, outcome: EvaluationOutcome, human: Callable[[], object]) -> None:
    """The scores as JSON or as `human` prints them, then what was computed or missing."""
    cached = len(outcome.cells) - outcome.computed
    record = {
        "schema": "xstilts.scores/1",
        "computed": outcome.computed,
        "cached": cached,
        "missing": list(outcome.missing),
        "padding": round(outcome.padding.share, 4),
        "differences": [
            {"expression": s.intermediate, "task": s.task, "language": s.language, "value": value}
            for s, value in outcome.differences
        ],
        "scores": [score.model_dump() for score in outcome.scores],
    }

    def with_notes() -> None:
        human()
        state.note(f"{outcome.computed} cells computed, {cached} reused")
        if outcome.padding.positions:
            state.note(f"{outcome.padding.share:.1%} of the batches' positions were padding")
        if outcome.differences:
            state.note(_difference(outcome))
        for line in cut_lines(outcome.scores):
            state.note(line)
        print_missing(state, outcome.missing)

    state.emit(record, with_notes)


def cut_lines(scores: Sequence[Score]) -> list[str]:
    """One line a task whose texts were cut: how many rows, in which languages, at which length."""
    from xstilts.evaluate.names import title_of

    counts: dict[tuple[str, int], dict[str, int]] = {}
    for score in scores:
        if score.num_cut:
            codes = counts.setdefault((title_of(score), score.max_length), {})
            codes[score.language] = score.num_cut
    return [
        f"{task}: {sum(codes.values()):,} rows were cut at {length} sub-words "
        f"({', '.join(f'{code} {count:,}' for code, count in codes.items())})"
        for (task, length), codes in counts.items()
    ]


def _difference(outcome: EvaluationOutcome) -> str:
    """How scores in a lower precision differ from those in float32."""
    values = [value for _, value in outcome.differences]
    score, most = max(outcome.differences, key=lambda item: abs(item[1]))
    place = f"{score.intermediate}, {score.task} {score.language}"
    return (
        f"{score.flags[-1]} minus fp32 over {len(values)} scores: mean "
        f"{sum(values) / len(values):+.2f}, largest {most:+.2f} ({place})"
    )
