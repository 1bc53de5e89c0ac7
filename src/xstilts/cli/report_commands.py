"""`xstilts report` and `xstilts demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State, split_commas
from xstilts.config.draws import DRAWS

if TYPE_CHECKING:
    from xstilts.report.results import ReportResult


def report(
    context: typer.Context,
    html: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("report.html"),
    task: Annotated[str, typer.Option(help="Rows of these tasks only, comma-separated.")] = "",
    expressions: Annotated[
        list[str] | None,
        typer.Option("--expr", help="Only this label (repeat it), with the baseline."),
    ] = None,
    backbone: Annotated[str, typer.Option(help="Only this backbone, by its short name.")] = "",
    baseline: Annotated[str, typer.Option(help="Label that differences are taken to.")] = "none",
    suite: Annotated[str, typer.Option(help="xtreme or xtreme-r: order and overall.")] = "xtreme",
    reference: Annotated[
        str, typer.Option(help="`paper` puts published numbers beside ours.")
    ] = "",
    draws: Annotated[
        int, typer.Option(min=0, help="Of each bootstrap; 0 makes no comparisons.")
    ] = DRAWS,
    latex: Annotated[Path | None, typer.Option(help="Also write LaTeX tables (booktabs).")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write Markdown.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write all score rows as CSV.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Also write them as parquet.")] = None,
    mteb: Annotated[Path | None, typer.Option(help="Also write a folder as mteb does.")] = None,
    lm_eval: Annotated[
        Path | None, typer.Option(help="Also write a folder as lm-evaluation-harness does.")
    ] = None,
    xtreme_json: Annotated[
        Path | None, typer.Option(help="Also write what XTREME's scorer prints, by expression.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Also write the figures here.")] = None,
    figure_format: Annotated[
        str, typer.Option(help="svg, pdf, png; comma-separated.")
    ] = "svg,pdf,png",
) -> None:
    """Make a report of all stored scores: one self-contained HTML page, and other formats.

    Example: xstilts report --latex tables.tex --csv scores.csv --figures figures
    """
    state: State = context.obj
    state.refuse_dry_run("report")
    made = state.session.report(
        html,
        tasks=split_commas(task),
        labels=expressions or [],
        backbone=backbone,
        baseline=baseline,
        suite=suite,
        reference=reference,
        draws=draws,
        figure_formats=split_commas(figure_format),
        latex=latex,
        markdown=markdown,
        csv=csv,
        parquet=parquet,
        mteb=mteb,
        lm_eval=lm_eval,
        xtreme_json=xtreme_json,
        figures=figures,
    )
    _show(state, made)


def _show(state: State, result: ReportResult) -> None:
    from xstilts.report.exports import SCHEMA
    from xstilts.report.plain import as_json

    def human() -> None:
        for view in result.views():
            state.table(view.columns, view.rows, view.title)
        for name, path in result.files.items():
            print(f"{name}: {path}")

    record = {
        **as_json(result.report),
        "verdicts": [_plain(verdict) for verdict in result.material.verdicts.values()],
        "scores": {"schema": SCHEMA, "rows": result.records()} if state.json else {},
        "files": result.files,
        "html": result.files["html"],
    }
    state.emit(record, human)


def _plain(verdict: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(verdict), "words": verdict.claim}


def demo(
    context: typer.Context,
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page; the results folder when empty.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Comma-separated; everything is run once for each.")
    ] = "42",
) -> None:
    """Run the demo: sandbox world, modules, compositions, evaluation, report. Offline, minutes.

    Below three seeds its page gives differences without intervals, which would be over examples
    alone; `xstilts report` makes the page with them.

    Example: xstilts demo --seeds 1,2,3
    """
    from xstilts.cli.training import seed_numbers
    from xstilts.evaluate.stats.significance import FEWEST_SEEDS

    state: State = context.obj
    state.refuse_dry_run("demo")
    state.session = session = state.session.in_world("sandbox")
    numbers = seed_numbers(seeds)
    labels = {score.intermediate for score in session.demo(numbers).scores}
    page = html or session.results_folder / "report.html"
    draws = DRAWS if len(numbers) >= FEWEST_SEEDS else 0
    _show(state, session.report(page, labels=sorted(labels), draws=draws))
