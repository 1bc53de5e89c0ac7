"""The pictures of a report, drawn by matplotlib; colours can be told apart by the colour-blind."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xstilts.errors import UsageError
from xstilts.files import write_bytes
from xstilts.report.material import Column, Material, described
from xstilts.report.model import Figure, Table, Value

FORMATS = ("svg", "pdf", "png")
COLOURS = ("#8a8a8a", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#a89c00")
"""Okabe and Ito, 2008, with greys that show on black and on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GLYPHS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★")
"""The same marks as letters."""
GAIN, LOSS = (33, 102, 172), (200, 90, 20)
_SAID = ("Creator", "Date", "Format", "Type")
"""What matplotlib would say of an SVG, links and the time among it."""
INK, LINE = "#0a0b0c", "#0a0b0d"
"""Stand-ins for the page's own colours, which differ by light and dark."""
MOST = 8
"""Lines in one picture; more cannot be told apart."""


SERIES = "series:"
"""Begins the name of a series' marks in a picture."""


def style_of(label: str, names: Sequence[str]) -> dict[str, Any]:
    """Colour and marker of a series, the same in all panels with these names."""
    return style(names.index(label))


def style(number: int) -> dict[str, Any]:
    """Colour and marker of a series."""
    return {"color": COLOURS[number % MOST], "marker": MARKERS[number % MOST]}


def colour_of(shade: float) -> tuple[int, int, int, float]:
    """Red, green, blue and strength of a gain (0..1) or loss (-1..0)."""
    hue = GAIN if shade >= 0 else LOSS
    return (*hue, round(min(1.0, abs(shade)), 3))


# -- writing


def svg(figure: Figure) -> str:
    """The picture as an SVG element that takes on the page's colours."""
    text = _rendered(figure, "svg", INK, LINE).decode("utf-8")
    text = text[text.index("<svg") :]
    text = text.replace(INK, "currentColor").replace(LINE, "var(--line)")
    # what scripts look up by its series; the other names would repeat in every picture of the page
    text = re.sub(rf'<g id="{SERIES}([^"]*)"', r'<g data-of="\1"', text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    # its size follows from the page's width and its view box
    return re.sub(r' (?:width|height)="[^"]*pt"', "", text, count=2)


def write_figures(figures: Sequence[Figure], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write every picture in every format; returns the paths.

    Raises:
        UsageError: A format is unknown.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise UsageError(f"no figure format '{unknown[0]}'", hint=f"Known: {', '.join(FORMATS)}.")
    paths = []
    for figure in figures:
        for name in formats:
            path = folder / f"{figure.name}.{name}"
            write_bytes(path, _rendered(figure, name, "#1a1a1a", "#cccccc"))
            paths.append(path)
    return paths


def _rendered(figure: Figure, kind: str, ink: str, line: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    look = {
        "svg.fonttype": "none", "svg.hashsalt": figure.name, "font.size": 8,
        "font.family": "sans-serif", "text.color": ink, "axes.labelcolor": ink,
        "xtick.color": ink, "ytick.color": ink, "axes.edgecolor": line, "grid.color": line,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "axes.axisbelow": True, "legend.frameon": False, "figure.facecolor": "none",
        "axes.facecolor": "none", "savefig.dpi": 200, "lines.markersize": 4.5,
    }  # fmt: skip
    with mpl.rc_context(look):
        canvas = Canvas(figsize=(figure.width, figure.height), layout="constrained")
        figure.draw(canvas)
        if figure.panel and ink == INK:  # the page has one legend for all panels
            for each in canvas.legends:
                each.remove()
        buffer = io.BytesIO()
        face = "none" if kind == "svg" else "white"
        said = {"svg": dict.fromkeys(_SAID), "pdf": {"CreationDate": None}}.get(kind)
        canvas.savefig(buffer, format=kind, facecolor=face, metadata=said)
    return buffer.getvalue()


def named(*parts: str) -> str:
    """A file name made of texts."""
    return "-".join("".join(c if c.isalnum() else "-" for c in part) for part in parts).lower()


# -- pictures


def lines(
    name: str,
    title: str,
    series: dict[str, list[tuple[float, float]]],
    across: str,
    up: str,
    *,
    names: Sequence[str],
    task: str = "",
    log: bool = False,
) -> Figure:
    """Values over something as a panel: one line a label, of the first `MOST` of all `names`."""
    shown = {label: points for label, points in series.items() if label in names[:MOST]}
    left = len(series) - len(shown)

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for label, points in shown.items():
            xs, ys = zip(*sorted(points), strict=True)
            axes.plot(
                xs, ys, label=label, linewidth=1.4, gid=SERIES + label, **style_of(label, names)
            )
        if log:
            axes.set_xscale("log")
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        legend(canvas, axes)

    more = f" {left} further labels are in the table only." if left else ""
    text = f"{title}: {up} over {across}, one line for each of {', '.join(shown)}.{more}"
    return Figure(name, title, text, draw, width=3.6, height=2.7, panel=True, task=task)


def scatter(
    name: str, title: str, points: dict[str, tuple[float, float]], across: str, up: str
) -> Figure:
    """One labelled point each, over a logarithmic axis; from the ninth on with a plain mark."""

    def draw(canvas: Any) -> None:
        from matplotlib import rcParams

        axes, labels = canvas.subplots(), []
        plain = {"color": rcParams["text.color"], "marker": "o", "fillstyle": "none"}
        for number, (label, (x, y)) in enumerate(points.items()):
            axes.plot([x], [y], linestyle="", **(style(number) if number < MOST else plain))
            labels.append(axes.annotate(label, (x, y), (4, 4), textcoords="offset points"))
        axes.set_xscale("log")
        axes.margins(x=0.15, y=0.15)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        _keep_apart(canvas, labels)

    text = f"{title}: {up} over {across} for {', '.join(points)}."
    return Figure(name, title, text, draw)


def _keep_apart(canvas: Any, labels: Sequence[Any]) -> None:
    """Move labels down, from the highest on, until none lies on another."""
    canvas.draw_without_rendering()
    taken: list[Any] = []
    for label in sorted(labels, key=lambda label: -label.get_window_extent().y0):
        box = label.get_window_extent()
        while (other := next((each for each in taken if each.overlaps(box)), None)) is not None:
            down = box.y1 - other.y0 + 1
            box = box.translated(0, -down)
            label.xyann = (label.xyann[0], label.xyann[1] - 72 * down / canvas.dpi)
        taken.append(box)


def heat_map(table: Table) -> Figure:
    """A table of differences as coloured fields with their numbers."""

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.grid(visible=False)
        for y, row in enumerate(table.rows):
            for x, item in enumerate(row[1:]):
                assert isinstance(item, Value)
                *hue, strength = colour_of(item.shade or 0.0)
                colour = (*(part / 255 for part in hue), strength)
                axes.add_patch(_field(x, y, colour))
                ink = "#ffffff" if strength > 0.55 else None
                _text(axes, x, y, item.text, ink)
        axes.set_xlim(-0.5, len(table.columns) - 1.5)
        axes.set_ylim(len(table.rows) - 0.5, -0.5)
        axes.set_xticks(range(len(table.columns) - 1), table.columns[1:], rotation=30, ha="right")
        axes.set_yticks(range(len(table.rows)), [str(row[0]) for row in table.rows])

    height = 1.2 + 0.32 * len(table.rows)
    return Figure("heat", table.title, table.title, draw, height=height, inline=False)


def _field(x: int, y: int, colour: tuple[float, ...]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="none")


def _text(axes: Any, x: int, y: int, text: str, ink: str | None) -> None:
    more = {"color": ink} if ink else {}
    axes.text(x, y, text, ha="center", va="center", **more)


def by_language(material: Material, column: Column) -> Figure:
    """Scores of a task as a panel: a row for each language, a mark for each label.

    Languages are in the order of the baseline's scores; a line joins the lowest and the highest.
    """
    base = material.baseline_of(material.labels[0])
    order = sorted(column.every, key=lambda unit: -(material.value(base, unit) or 0.0))
    labels = material.labels[:MOST]

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        table = {label: [material.value(label, unit) for unit in order] for label in labels}
        for y, values in enumerate(zip(*table.values(), strict=True)):
            known = [value for value in values if value is not None]
            if known:
                axes.plot(
                    [min(known), max(known)], [y, y], color=COLOURS[0], alpha=0.5, linewidth=1
                )
        for label, own in table.items():
            points = [(value, y) for y, value in enumerate(own) if value is not None]
            if points:
                xs, ys = zip(*points, strict=True)
                look = style_of(label, labels)
                axes.plot(xs, ys, linestyle="", label=label, gid=SERIES + label, **look)
        names = [f"{described(u.language)['name']} {u.language}".strip() for u in order]
        axes.set_yticks(range(len(order)), names)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(column.metric)
        legend(canvas, axes)

    codes = ", ".join(unit.language for unit in order)
    text = f"{column.metric} of {', '.join(labels)} in {codes}; the table below has the numbers."
    name, height = named("languages", column.name), 0.75 + 0.17 * len(order)
    return Figure(
        name, column.name, text, draw, width=3.6, height=height, panel=True, task=column.name
    )


def legend(canvas: Any, axes: Any) -> None:
    """Names of the series above the picture; nothing where none has a name."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        letters = int(canvas.get_figwidth() * 13)
        columns = max(1, min(4, letters // (max(map(len, names)) + 6)))
        canvas.legend(handles, names, loc="outside upper left", ncols=columns)
