"""Pictures of comparisons: intervals one below the other, or curves with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xstilts.report.figures import MOST, legend, style
from xstilts.report.model import Figure

TICKS_APART = 10
"""Values on an axis from which only some are named."""


@dataclass(frozen=True)
class EffectInterval:
    """An effect and its interval.

    Attributes:
        at: What it is the effect of: a group, a depth, a step.
    """

    at: str
    value: float
    low: float
    high: float


def forest(name: str, title: str, spans: Sequence[EffectInterval], across: str) -> Figure:
    """A mark and its interval for each effect, the first at the top; a line at no effect."""

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.grid(visible=False, axis="y")
        axes.axvline(0.0, linewidth=1.0, linestyle=":", color=style(0)["color"])
        for number, span in enumerate(spans):
            colour = style(1)["color"]
            axes.plot([span.low, span.high], [number, number], color=colour, linewidth=1.4)
            axes.plot([span.value], [number], linestyle="", marker="o", color=colour)
        axes.set_yticks(range(len(spans)), [span.at for span in spans])
        axes.set_ylim(len(spans) - 0.5, -0.5)
        canvas.supxlabel(across, fontsize="medium")  # below the names, too: the axis may be short

    told = "; ".join(f"{s.at} {s.value:+.1f} [{s.low:+.1f}, {s.high:+.1f}]" for s in spans)
    text = f"{title}: {across} with intervals. {told}."
    width = min(4.8, 3.2 + 0.06 * max(len(span.at) for span in spans))  # larger letters on a phone
    return Figure(name, title, text, draw, width=width, height=0.75 + 0.24 * len(spans))


def curves(
    name: str, title: str, series: Mapping[str, Sequence[EffectInterval]], across: str, up: str
) -> Figure:
    """A line with its band for each series, the first `MOST`; values in the order they come."""
    shown = dict(list(series.items())[:MOST])
    order = list(dict.fromkeys(span.at for spans in shown.values() for span in spans))
    places = {at: number for number, at in enumerate(order)}

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.axhline(0.0, linewidth=1.0, linestyle=":", color=style(0)["color"])
        for number, (label, spans) in enumerate(shown.items(), 1):
            look = style(number)
            xs = [places[span.at] for span in spans]
            axes.plot(xs, [s.value for s in spans], label=label or None, linewidth=1.4, **look)
            bounds = [s.low for s in spans], [s.high for s in spans]
            axes.fill_between(xs, *bounds, color=look["color"], alpha=0.15, linewidth=0)
        every = max(1, len(order) // TICKS_APART)
        axes.set_xticks(range(0, len(order), every), order[::every])
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        legend(canvas, axes)

    left = len(series) - len(shown)
    more = f" {left} further lines are in the table only." if left else ""
    text = f"{title}: {up} over {across}, one line for each of {', '.join(shown)}.{more}"
    return Figure(name, title + (f" (first {MOST})" if left else ""), text, draw)
