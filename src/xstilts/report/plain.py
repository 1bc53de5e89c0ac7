"""A report as Markdown and as LaTeX (booktabs); pictures are written by `--figures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from xstilts.files import write_text
from xstilts.report.model import MINUS, Item, Report, ReportSummary, Section, Table, Value, number

RULES = ("toprule", "midrule", "bottomrule")
MOST_ROWS = 40
"""Of a table on one page."""
LATIN_END = 0x17F
"""Last letter of Latin Extended-A, all of which LaTeX prints."""
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "Δ": r"$\Delta$", MINUS: "$-$", "–": "--", "±": r"$\pm$", "<": "$<$", ">": "$>$",
    "·": r"$\cdot$", "→": r"$\rightarrow$", "≥": r"$\ge$", "≤": r"$\le$", "×": r"$\times$",
    "\n": " ",
}  # fmt: skip


def write_markdown(report: Report, path: Path, pictures: str = "") -> None:
    """Write every section but the provenance as GitHub's Markdown.

    Args:
        report: What to write.
        path: Where.
        pictures: Folder, from there, that the pictures were written to as SVG; empty shows none.
    """
    parts = [f"# {report.title}\n"]
    if report.warning:
        parts.append(f"> {report.warning}\n")
    parts.append("\n".join(f"- {line}" for line in report.about) + "\n")
    if report.summary:
        parts += _summary(report.summary)
    for section in report.sections:
        if _long(section):
            continue
        parts.append(f"## {section.title}\n")
        if section.absent:
            parts.append(f"*{section.absent}*\n")
            continue
        parts.append(f"{section.intro}\n")
        if pictures:
            shown = [figure for figure in section.figures if figure.inline]
            parts += [f"![{f.title}]({pictures}/{f.name}.svg)\n" for f in shown]
        parts += [_markdown(table) for table in section.tables]
    write_text(path, "\n".join(parts))


def _summary(summary: ReportSummary) -> list[str]:
    parts = [f"## Summary\n\n{summary.question}\n"]
    for finding in summary.findings:
        lines = "\n".join(f"- {line}" for line in finding.lines)
        parts.append(f"**{finding.title}.** {finding.note}\n\n{lines}\n")
    return parts + [_markdown(table) for table in summary.tables]


def _markdown(table: Table) -> str:
    table = table.shown

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if table.numeric(n) else "---" for n in range(len(table.columns))]
    rows = [line([plain(item) for item in row]) for row in table.rows]
    note = "".join(f"\n{text}\n" for text in (table.scope_note, table.note) if text)
    return "\n".join([f"### {table.title}\n{note}", line(table.columns), line(rule), *rows]) + "\n"


def write_latex(report: Report, path: Path) -> None:
    """Write every table but the provenance, to be input; it needs graphicx, and uses booktabs.

    Tables that are wider than the text are scaled to it; long ones are in parts of `MOST_ROWS`.
    """
    parts = [
        r"% Needs \usepackage{graphicx}; \usepackage{booktabs} before it makes the rules finer.",
        "\n".join(
            rf"\expandafter\providecommand\csname {rule}\endcsname{{\hline}}" for rule in RULES
        ),
    ]
    if report.warning:
        parts.append(f"% {report.warning}")
    if report.summary:
        parts += [_latex(table, "Summary") for table in report.summary.tables]
    for section in report.sections:
        if not _long(section) and not section.absent:
            parts += [_latex(table, section.title) for table in section.tables]
    write_text(path, "\n\n".join(parts) + "\n")


def _latex(table: Table, title: str) -> str:
    table = table.shown
    kinds = "".join("r" if table.numeric(n) else "l" for n in range(len(table.columns)))
    rows = [" & ".join(_escaped_item(item) for item in row) + r" \\" for row in table.rows]
    pieces = [rows[at : at + MOST_ROWS] for at in range(0, len(rows), MOST_ROWS)]
    told = ". ".join(part.rstrip(".") for part in (title, table.title, table.data) if part)
    captions = [f"{told}." for _ in pieces]
    if len(pieces) > 1:
        captions = [f"{told}. Part {n} of {len(pieces)}." for n in range(1, len(pieces) + 1)]
    return "\n\n".join(
        "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{escaped(caption)}}}",
                r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                rf"\begin{{tabular}}{{{kinds}}}",
                r"\toprule",
                " & ".join(escaped(column) for column in table.columns) + r" \\",
                r"\midrule",
                *piece,
                r"\bottomrule",
                r"\end{tabular}}",
                *([rf"\par\footnotesize {escaped(table.scope_note)}"] if table.scope else []),
                r"\end{table}",
            ]
        )
        for caption, piece in zip(captions, pieces, strict=True)
    )


def _escaped_item(item: Item) -> str:
    text = escaped(plain(item))
    return rf"\textbf{{{text}}}" if isinstance(item, Value) and item.significant else text


def plain(item: Item) -> str:
    """A cell as text."""
    if isinstance(item, float):
        item = number(item)
    return "" if item is None else str(item)


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is; letters that its usual fonts lack are named by number."""
    return "".join(_LATEX.get(letter) or _known(letter) for letter in text)


def _known(letter: str) -> str:
    if ord(letter) <= LATIN_END or letter in "‘’“”…—":
        return letter
    return rf"\texttt{{U+{ord(letter):04X}}}"


def as_json(report: Report) -> dict[str, object]:
    """Title and sections as JSON values: numbers where a cell has one, else its text."""
    sections = [
        {
            "key": section.key,
            "title": section.title,
            "absent": section.absent,
            "tables": [_json_table(table) for table in section.tables],
        }
        for section in report.sections
        if not _long(section)
    ]
    record: dict[str, object] = {
        "schema": "xstilts.report/1",
        "title": report.title,
        "sections": sections,
    }
    if report.summary:
        told = [asdict(finding) for finding in report.summary.findings]
        record["summary"] = {
            "question": report.summary.question,
            "findings": told,
            "tables": [_json_table(table) for table in report.summary.tables],
        }
    return record


def _json_table(table: Table) -> dict[str, object]:
    return {
        "title": table.title,
        "columns": table.columns,
        "heads": table.heads,
        "rows": [[_json_item(item) for item in row] for row in table.rows],
    }


def _long(section: Section) -> bool:
    """Whether it has a row for each score; `--csv` writes them."""
    return any(table.long for table in section.tables)


def _json_item(item: Item) -> object:
    if isinstance(item, Value):
        return item.text if item.order is None else item.order
    return item
