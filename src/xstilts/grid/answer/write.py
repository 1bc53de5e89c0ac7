"""A study's answer, read off what is finished and written to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xstilts.config.progress import ProgressFn, silent
from xstilts.evaluate.store import ResultStore
from xstilts.files import without_nan, write_json
from xstilts.grid.answer.analysis import answered
from xstilts.grid.answer.report import answer_report, record
from xstilts.grid.answer.study_results import collect_results
from xstilts.grid.state import GridFolder, PlannedStudy
from xstilts.report.figures import write_figures
from xstilts.report.html import write_html
from xstilts.report.plain import write_markdown


def write_answer(
    planned: PlannedStudy,
    folder: GridFolder,
    store: ResultStore,
    to: Path | None = None,
    *,
    draws: int,
    warning: str = "",
    progress: ProgressFn = silent,
) -> dict[str, Any]:
    """Write the answer report: page, Markdown, JSON and pictures.

    Args:
        planned: The study.
        folder: The state of its cells.
        store: Their scores.
        to: Folder that is written; the study's own when None.
        draws: Of the bootstrap.
        warning: Stands at the top of the page.
        progress: Told how far the bootstrap is.

    Returns:
        The answer as JSON values, and as `html` where the page is.

    Raises:
        UsageError: The study does not say how its answer is read.
    """
    answer = answered(collect_results(planned, folder, store), draws=draws, progress=progress)
    page = answer_report(answer, warning)
    at = to or folder.study_folder(planned.name) / "answer"
    pictures = [figure for section in page.sections for figure in section.figures]
    write_html(page, at / "answer.html")
    write_figures(pictures, at / "figures", ["svg"])
    write_markdown(page, at / "answer.md", "figures")
    values = record(answer, page)
    write_json(at / "answer.json", without_nan(values))
    return {**values, "html": str((at / "answer.html").absolute())}
