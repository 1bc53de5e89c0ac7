"""Self-contained pages: one base and style, made from templates below `page/`; and the report's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape

from xstilts.files import digest, write_text
from xstilts.report import figures
from xstilts.report.model import Choices, Figure, Item, Report, Table, Value, number
from xstilts.report.plain import plain


def page(
    template: str,
    title: str,
    *,
    scripts: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
    picture: Callable[[Figure], str] | None = None,
    **values: Any,
) -> str:
    """A page that loads nothing from anywhere, from a template that extends `base.html.j2`.

    Args:
        template: Its file below `page/`; its blocks are `top`, `side_title`, `side`, `content`.
        title: Of the page.
        scripts: Files below `page/`, run in this order at the end.
        data: By the id of the element that scripts read them from, as JSON.
        picture: Gives what stands for a figure; its SVG when None.
        values: What the template shows.
    """
    environment = Environment(
        loader=PackageLoader("xstilts", "report/page"),
        autoescape=select_autoescape(("html", "j2")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = _asset
    environment.filters |= {
        "json": _json,
        "view": _view,
        "breakable": _breakable,
        "picture": picture or _picture,
        "colour": lambda number: figures.style(number)["color"],
        "glyph": lambda number: figures.GLYPHS[number % figures.MOST],
        "sign": lambda tone: {"gain": "▲ ", "loss": "▼ "}.get(tone, ""),
    }
    made = environment.get_template(template)
    return made.render(title=title, scripts=("side.js", *scripts), data=data or {}, **values)


def write_html(report: Report, path: Path, scores: Any = None) -> None:
    """Write the report's page.

    Args:
        report: What it shows.
        path: Of the page.
        scores: JSON values of all scores below it. With them, a page that is there already and
            is of the same report, scores and code is left as it is: pictures take seconds.
    """
    long = next((t for section in report.sections for t in section.tables if t.long), None)
    scripts, data = ["sort.js"], dict[str, Any]()
    if long:
        scripts.append("rows.js")
        data["rows"] = _coded(long)
    if report.choices:
        scripts.append("filter.js")
        data["choices"] = asdict(report.choices)
    drawn: list[Figure] = []

    def stand_in(figure: Figure) -> str:
        drawn.append(figure)
        return Markup(f"<svg data-picture={len(drawn) - 1}>")  # noqa: S704

    made = page(
        "report.html.j2",
        report.title,
        scripts=scripts,
        data=data,
        picture=stand_in,
        report=report,
        choices=report.choices,
        filters=_filters(report.choices) if report.choices else (),
        absent=[section for section in report.sections if section.absent],
    )
    of = digest([made, scores, version("matplotlib"), *_code()]) if scores is not None else ""
    if of and _is_page(path, of):
        return
    made = re.sub(r"<svg data-picture=(\d+)>", lambda found: _picture(drawn[int(found[1])]), made)
    write_text(path, f"{made}{_mark(of, made)}" if of else made)


def _mark(of: str, text: str) -> str:
    """What ends a page: what it was made of, and its own digest, which a change by hand breaks."""
    return f"<!-- of {of} {digest(text)} -->\n"


def _is_page(path: Path, of: str) -> bool:
    """Whether a page is there as it was written, and made of just this."""
    try:
        text, start, mark = path.read_text(encoding="utf-8").rpartition("<!-- of ")
    except (OSError, UnicodeDecodeError):
        return False
    return start + mark == _mark(of, text)


@cache
def _code() -> list[str]:
    """The files that decide how a picture looks."""
    here = Path(__file__).parent
    return [file.read_text(encoding="utf-8") for file in sorted(here.rglob("*.py"))]


def _filters(choices: Choices) -> list[tuple[str, str, list[str]]]:
    """What is chosen by, its title and what there is, in the order in which it stands beside."""
    tasks = dict.fromkeys(task for task, _ in choices.columns.values())
    groups = {
        key: sorted({known[key] for known in choices.languages.values() if known[key]})
        for key in ("script", "family", "tier")
    }
    return [
        ("task", "Tasks", list(tasks)),
        ("expression", "Expressions", list(choices.expressions)),
        ("block", "Blocks", list(map(str, choices.blocks))),
        ("script", "Languages by script", groups["script"]),
        ("family", "Languages by family", groups["family"]),
        ("tier", "Languages by tier", groups["tier"]),
    ]


def _asset(name: str) -> Markup:
    text = resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704


def _json(value: Any) -> Markup:
    """As JSON that no text in it can end the element of."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704


def _picture(figure: Figure) -> Markup:
    """An SVG no larger than its text needs; a wide one is scrolled where it would get too small."""
    least = 0 if figure.width <= NARROW else figure.width * 90
    size = "" if figure.panel else f"max-width:{figure.width * 115:.0f}px;min-width:{least:.0f}px"
    return Markup(figures.svg(figure).replace("<svg", f'<svg style="{size}"', 1))  # noqa: S704


NARROW = 5.0
"""Inches of a picture that a phone shows as a whole."""


# -- tables


@dataclass(frozen=True)
class _Head:
    """A heading: its text, what it sorts, and what filters need to know.

    Attributes:
        delta: Text of the button that sorts by the difference below the scores.
        facet: What its cells, or the column as a whole, can be chosen by.
        of: Which of these the column as a whole is.
    """

    text: str
    numeric: bool
    delta: str = ""
    facet: str = ""
    of: str = ""

    @property
    def kind(self) -> str:
        """Its classes: a number's column, a text that is broken into lines."""
        return f"{'n' if self.numeric else ''} {'long' if len(self.text) > LINE else ''}".strip()


LINE = 17
"""Letters of a heading from which it is broken into lines."""


@dataclass(frozen=True)
class _View:
    heads: list[_Head]
    rows: list[Markup]


FACETS = {
    name: name for name in ("expression", "task", "code", "block", "script", "family", "tier")
}
FACETS |= {"target": "task"}
"""Name of a column to what its cells are chosen by; in rows of scores, expressions are labels."""
OF_SCORES = {"label": "expression", "task": "task", "language": "code", "block": "block"}


def _view(table: Table) -> _View:
    """A table as the page shows it: without what is empty, differences below their scores."""
    shown = table.shown
    pairs = {a: b for a, b in shown.pairs.items() if {a, b} <= set(shown.columns)}
    hidden = set(pairs.values())
    facets = OF_SCORES if table.long else FACETS
    heads, places = [], []
    for place, name in enumerate(shown.columns):
        if name in hidden:
            continue
        of = shown.of.get(name, "")
        facet = shown.across if of else facets.get(name, "")
        delta = "Δ" if name in pairs else ""
        heads.append(_Head(name, shown.numeric(place), delta, facet, of))
        below = shown.columns.index(pairs[name]) if name in pairs else None
        places.append((place, below))
    if table.long:
        return _View(heads, [])
    rows = [
        Markup("").join(
            _cell(row[place], named=place < shown.names, below=None if b is None else row[b])
            for place, b in places
        )
        for row in shown.rows
    ]
    return _View(heads, rows)


def _cell(item: Item, *, named: bool, below: Item = None) -> Markup:
    """One table cell; what a number is sorted by stands in `data-v` where its text is no number.

    Args:
        item: What stands in it.
        named: Whether it names the row.
        below: The difference that stands below it; `data-d` holds what it is sorted by.
    """
    if isinstance(item, float):
        item = number(item)
    if not isinstance(item, Value):
        text = "" if item is None else str(item)
        kind = "words" if len(text) > WORDS else "" if named or not isinstance(item, int) else "n"
        return _element("td", text, kind)
    told = {"data-v": _key(item), "title": item.note}
    content = _content(item)
    if isinstance(below, Value):
        told["data-d"] = _key(below)
        tone = {"title": below.note, "style": _tone(below)}
        content += _element("span", _content(below), f"delta {_classes(below)}", tone)
    return _element("td", content, f"n {_classes(item)}", {**told, "style": _tone(item)})


WORDS = 48
"""Letters from which a text is broken into lines."""


def _element(
    name: str, content: str, kind: str = "", told: Mapping[str, str] | None = None
) -> Markup:
    attributes = {"class": kind.strip(), **(told or {})}
    text = Markup("").join(Markup(' {}="{}"').format(k, v) for k, v in attributes.items() if v)
    return Markup("<{0}{1}>{2}</{0}>").format(name, text, content)


def _content(item: Value) -> Markup:
    below = Markup("<small>{}</small>").format(item.subtext) if item.subtext else Markup()
    return escape(item.text) + below


def _breakable(text: str) -> Markup:
    """A text whose lines may also end within an expression, as heads of narrow columns need it."""
    return Markup("<wbr>").join(re.split(r"(?<=\w[(/_])", text))


def _key(item: Value) -> str:
    """What a cell is sorted by, where it is not its text."""
    plain = item.order is None or item.text == f"{item.order}"
    return "" if plain else f"{item.order:.6g}"


def _classes(item: Value) -> str:
    sure = {True: "significant", False: "unsure", None: ""}[item.significant]
    return f"{'t' if item.shade is not None else ''} {sure}".strip()


def _coded(table: Table) -> dict[str, list[list[Any]]]:
    """Columns of different texts, and for each column the place of each row's text in them."""
    columns, rows = [], []
    for place in range(len(table.shown.columns)):
        texts = [plain(row[place]) for row in table.shown.rows]
        values = {text: number_ for number_, text in enumerate(dict.fromkeys(texts))}
        columns.append(list(values))
        rows.append([values[text] for text in texts])
    return {"columns": columns, "rows": rows}


STRONGEST = 0.45
"""Opacity of the full colour; text on it, dark or light as the page's, can still be read."""


def _tone(item: Value) -> str:
    if item.shade is None:
        return ""
    hue = "gain" if item.shade >= 0 else "loss"
    return f"--t:rgba(var(--{hue}),{STRONGEST * min(1.0, abs(item.shade)):.2f})"
