"""The report: one self-contained HTML page made from score rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from jinja2 import Environment, PackageLoader, select_autoescape

from xstilts.errors import NotFoundError
from xstilts.evaluate.results import Score
from xstilts.evaluate.views import (
    NONE,
    labels,
    language_tables,
    main_scores,
    main_table,
    task_means,
)
from xstilts.files import write_text

SIMULATION = (
    "These scores come from the sandbox world, a simulation of artificial languages. "
    "They are no evidence about real languages."
)


def write_html(scores: Sequence[Score], path: Path, *, note: str = "") -> None:
    """Write the page: main table, differences to `none`, bars by language, provenance.

    Raises:
        NotFoundError: There are no rows.
    """
    if not scores:
        raise NotFoundError("the result store has no scores", hint="Run `xstilts eval` first.")
    environment = Environment(
        loader=PackageLoader("xstilts.evaluate", "report"),
        autoescape=select_autoescape(("html", "j2")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("template.html.j2").render(
        note=note,
        main=main_table(scores),
        heat=_heat(scores),
        bars=_bars(scores),
        languages=language_tables(scores),
        provenance=_provenance(scores),
        backbones=sorted({f"{s.backbone} ({s.fingerprint[:12]})" for s in scores}),
    )
    write_text(path, page)


def _heat(scores: Sequence[Score]) -> dict[str, object]:
    """Differences to `none`: rows of (expression, [(text, colour, ink)])."""
    means = task_means(scores)
    tasks = sorted({task for label, task in means if label == NONE})
    rows = []
    for label in labels(scores):
        if label == NONE:
            continue
        cells = []
        for task in tasks:
            value = means.get((label, task))
            cells.append(_cell(None if value is None else value - means[NONE, task]))
        rows.append((label, cells))
    return {"tasks": tasks, "rows": rows}


def _cell(delta: float | None) -> tuple[str, str, str]:
    """Text, background and ink; blue for gains, orange for losses, full at 20 points."""
    if delta is None:
        return "–", "transparent", "inherit"
    strength = min(1.0, abs(delta) / 20)
    hue = (33, 102, 172) if delta >= 0 else (200, 90, 20)
    return (
        f"{delta:+.1f}",
        f"rgba({hue[0]},{hue[1]},{hue[2]},{strength:.2f})",
        ("#fff" if strength > 0.55 else "inherit"),
    )


def _bars(scores: Sequence[Score]) -> list[dict[str, object]]:
    """A group of horizontal bars for each task and language."""
    rows = main_scores(scores)
    charts: list[dict[str, object]] = []
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        groups = []
        for code in dict.fromkeys(row.language for row in own):
            bars = []
            for number, label in enumerate(labels(own)):
                values = [r.value for r in own if r.intermediate == label and r.language == code]
                if values:
                    bars.append((label, round(mean(values), 1), number % 8))
            groups.append((code, bars))
        names = [(label, number % 8) for number, label in enumerate(labels(own))]
        charts.append({"task": task, "groups": groups, "labels": names})
    return charts


def _provenance(scores: Sequence[Score]) -> list[tuple[object, ...]]:
    return [
        (
            s.intermediate,
            s.expression,
            s.task,
            s.language,
            s.split,
            s.metric,
            round(s.value, 2),
            s.n,
            s.seed if s.seed >= 0 else "",
            s.layer if s.layer >= 0 else "",
            s.digest[:12] or "untouched",
            s.predictions_sha256[:12],
            s.cell[:12],
        )
        for s in scores
    ]
