"""`xstilts report` and `xstilts demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.evaluate.results import Score


def report(
    context: typer.Context,
    html: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("report.html"),
    task: Annotated[str, typer.Option(help="Rows of these tasks only, comma-separated.")] = "",
) -> None:
    """Show all stored scores as a table and write one self-contained HTML page.

    Example: xstilts report --html report.html
    """
    from xstilts.evaluate.results import ResultStore

    state: State = context.obj
    wanted = [name for name in task.split(",") if name]
    scores = [s for s in ResultStore(state.results).scores() if not wanted or s.task in wanted]
    _show(state, scores, html)


def _show(state: State, scores: list[Score], html: Path) -> None:
    from xstilts.cli.output import table
    from xstilts.evaluate.report import SIMULATION, write_html
    from xstilts.evaluate.views import main_table

    write_html(scores, html, note=SIMULATION if state.world else "")
    view = main_table(scores)

    def human() -> None:
        state.console.print(table(view.columns, view.rows, view.title))
        print(f"report: {html.absolute()}")

    record = {"columns": view.columns, "rows": view.rows, "html": str(html.absolute())}
    state.emit(record, human)


def demo(
    context: typer.Context,
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page; the results folder when empty.")
    ] = None,
) -> None:
    """Take the tour: sandbox world, modules, compositions, evaluation, report. Offline, minutes.

    Example: xstilts demo
    """
    from xstilts.cli.demo import take_tour

    state: State = context.obj
    state.world = "sandbox"
    scores = take_tour(state)
    _show(state, scores, html or state.results / "report.html")
