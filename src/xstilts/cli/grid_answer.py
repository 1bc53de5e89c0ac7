"""What `xstilts grid answer` writes and prints, and `grid run` at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.grid.state import GridFolder, PlannedStudy


def make_answer(
    state: State, folder: GridFolder, planned: PlannedStudy, to: Path | None, draws: int
) -> dict[str, Any]:
    """Read the answer off what is there and write its report: page, Markdown, JSON, pictures.

    Raises:
        UsageError: The study does not say how its answer is read.
    """
    from xstilts.files import without_nan, write_json
    from xstilts.grid import answer as answers
    from xstilts.report.build import SIMULATION
    from xstilts.report.figures import write_figures
    from xstilts.report.html import write_html
    from xstilts.report.plain import write_markdown

    study_results = answers.collect_results(planned, folder, state.session.results)
    with state.session.progress(f"answer to {planned.name}") as progress:
        answer = answers.answered(study_results, draws=draws, progress=progress)
    page = answers.answer_report(answer, SIMULATION if state.session.world else "")
    at = to or folder.study_folder(planned.name) / "answer"
    pictures = [figure for section in page.sections for figure in section.figures]
    write_html(page, at / "answer.html")
    write_figures(pictures, at / "figures", ["svg"])
    write_markdown(page, at / "answer.md", "figures")
    record = answers.record(answer, page)
    write_json(at / "answer.json", without_nan(record))
    return {**record, "html": str((at / "answer.html").absolute())}


def print_answer(record: dict[str, Any]) -> None:
    """Question, verdict, and where the report is."""
    print(f"{record['question']}\n{record['line']}\nreport: {record['html']}")
