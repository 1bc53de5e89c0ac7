"""A report in the forms that are asked for: pages, tables, rows, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xstilts.errors import NotFoundError
from xstilts.files import write_json
from xstilts.report import exports
from xstilts.report.figures import write_figures
from xstilts.report.html import write_html
from xstilts.report.material import Material
from xstilts.report.model import Report
from xstilts.report.plain import write_latex, write_markdown


def write_forms(
    report: Report,
    material: Material,
    asked: Mapping[str, Path | None],
    figure_formats: Sequence[str] = ("svg",),
) -> dict[str, str]:
    """Write each form that has a path; form to absolute path.

    Args:
        report: What is written.
        material: What it was made from; rows are exported from there.
        asked: `html`, `latex`, `markdown`, `csv`, `parquet`, `mteb`, `lm_eval`, `xtreme_json` or
            `figures`.
        figure_formats: Endings of the figures' files.

    Raises:
        NotFoundError: There is no such form.
    """

    def html(path: Path) -> None:
        scores = [[cell.key, [score.value for score in cell.scores]] for cell in material.cells]
        write_html(report, path, [*scores, material.draws])

    def xtreme_json(path: Path) -> None:
        write_json(path, exports.xtreme_record(material.scores, material.suite))

    def figures(path: Path) -> None:
        every = [figure for section in report.sections for figure in section.figures]
        every += report.summary.figures if report.summary else ()
        write_figures(every, path, list(figure_formats))

    writers: dict[str, Callable[[Path], object]] = {
        "html": html,
        "latex": lambda path: write_latex(report, path),
        "markdown": lambda path: write_markdown(report, path),
        "csv": lambda path: exports.write_csv(material.cells, path),
        "parquet": lambda path: exports.write_parquet(material.cells, path),
        "mteb": lambda path: exports.write_mteb(material.cells, path),
        "lm_eval": lambda path: exports.write_lm_eval(material.cells, path),
        "xtreme_json": xtreme_json,
        "figures": figures,
    }
    files = {}
    for name, path in asked.items():
        if name not in writers:
            raise NotFoundError.named("form of a report", name, writers)
        if path is not None:
            writers[name](path)
            files[name] = str(path.absolute())
    return files
