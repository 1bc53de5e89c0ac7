"""A report as one self-contained HTML page."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from xstilts.files import write_text
from xstilts.report import figures
from xstilts.report.model import Figure, Item, Report, Value, number


def write_html(report: Report, path: Path) -> None:
    """Write the page; it loads nothing from anywhere."""
    environment = Environment(
        loader=PackageLoader("xstilts", "report"),
        autoescape=select_autoescape(("html", "j2")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "picture": _picture}
    page = environment.get_template("template.html.j2").render(
        report=report, style=_text("style.css"), script=_text("script.js")
    )
    write_text(path, page)


def _text(name: str) -> Markup:
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))  # noqa: S704


def _picture(figure: Figure) -> Markup:
    return Markup(figures.svg(figure))  # noqa: S704


def _cell(item: Item, *, named: bool) -> Markup:
    """One table cell; what a number is sorted by stands in `data-v` where its text is no number."""
    if isinstance(item, float):
        item = number(item)
    if not isinstance(item, Value):
        text = "" if item is None else str(item)
        kind = "" if named or not isinstance(item, int) else ' class="n"'
        return Markup("<td{}>{}</td>").format(Markup(kind), text)  # noqa: S704
    classes, attributes = ["n"], []
    if item.order is not None and item.text != f"{item.order}":
        attributes.append(Markup(' data-v="{}"').format(f"{item.order:.6g}"))
    if item.shade is not None:
        red, green, blue, strength = figures.colour_of(item.shade)
        classes.append("t")
        if strength > STRONG:
            classes.append("strong")
        colour = f"rgba({red},{green},{blue},{strength:.2f})"
        attributes.append(Markup(' style="--t:{}"').format(colour))
    if item.significant is not None:
        classes.append("significant" if item.significant else "unsure")
    if item.note:
        attributes.append(Markup(' title="{}"').format(item.note))
    subtext = Markup("<small>{}</small>").format(item.subtext) if item.subtext else ""
    opening = Markup('<td class="{}"').format(" ".join(classes))
    return opening + Markup("").join(attributes) + Markup(">{}{}</td>").format(item.text, subtext)


STRONG = 0.6
"""Tone from which text on it is white."""
