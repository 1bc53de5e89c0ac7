"""Reports: sections of tables and figures made from stored scores, as HTML, LaTeX and Markdown.

material = Material(list(store.cells()), load_suite("xtreme"))
report = build(material)
write_html(report, Path("report.html"))
"""

from xstilts.report.build import SIMULATION, build
from xstilts.report.facts import Facts, facts
from xstilts.report.figures import FORMATS, write_figures
from xstilts.report.forms import write_forms
from xstilts.report.html import write_html
from xstilts.report.material import Material, UnfinishedCell
from xstilts.report.model import Figure, Report, Section, Table, Value
from xstilts.report.plain import as_json, write_latex, write_markdown

__all__ = [
    "FORMATS",
    "SIMULATION",
    "Facts",
    "Figure",
    "Material",
    "Report",
    "Section",
    "Table",
    "UnfinishedCell",
    "Value",
    "as_json",
    "build",
    "facts",
    "write_figures",
    "write_forms",
    "write_html",
    "write_latex",
    "write_markdown",
]
