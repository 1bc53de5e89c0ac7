"""`xstilts report` and `xstilts demo`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.evaluate.store import ResultCell
    from xstilts.report import Report, UnfinishedCell
    from xstilts.report.material import Material


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
    draws: Annotated[int, typer.Option(help="Of each bootstrap; 0 makes no comparisons.")] = 10_000,
    latex: Annotated[Path | None, typer.Option(help="Also write LaTeX tables (booktabs).")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write Markdown.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write all score rows as CSV.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Also write them as parquet.")] = None,
    mteb: Annotated[Path | None, typer.Option(help="Also write a folder as mteb does.")] = None,
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
    from xstilts.errors import NotFoundError

    state: State = context.obj
    state.refuse_dry_run("report")
    if reference not in ("", "paper"):
        raise NotFoundError.named("reference", reference, ["paper"])
    labels = {*(expressions or ()), baseline} if expressions else set()
    tasks = {name for name in task.split(",") if name}
    cells = _chosen(state, tasks, labels, backbone)
    material = _material(state, cells, baseline=baseline, suite=suite, draws=draws)
    made = _built(state, material, reference=bool(reference))
    asked = {
        "html": html,
        "latex": latex,
        "markdown": markdown,
        "csv": csv,
        "parquet": parquet,
        "mteb": mteb,
        "xtreme_json": xtreme_json,
        "figures": figures,
    }
    _show(state, material, made, _written(made, material, asked, figure_format))


def _chosen(state: State, tasks: set[str], labels: set[str], backbone: str) -> list[ResultCell]:
    """Stored cells of these tasks, labels and backbone; what is empty leaves out none."""
    from xstilts.evaluate.store import ResultStore

    cells = ResultStore(state.results).cells()
    return [cell for cell in cells if _wanted(cell, tasks, labels, backbone)]


def _wanted(cell: ResultCell, tasks: set[str], labels: set[str], backbone: str) -> bool:
    score = cell.scores[0]
    return (
        (not tasks or score.task in tasks)
        and (not labels or score.intermediate in labels)
        and (not backbone or score.backbone == backbone)
    )


def _material(
    state: State, cells: list[ResultCell], *, baseline: str, suite: str, draws: int
) -> Material:
    from xstilts.cli.zoo_commands import open_zoo
    from xstilts.config.load import load_suite
    from xstilts.report import Material, facts

    scores = [score for cell in cells for score in cell.scores]
    problems, missing = _problems(state)
    return Material(
        cells,
        load_suite(suite),
        baseline,
        facts(scores, open_zoo(state), state.runs),
        problems,
        missing,
        draws,
    )


def _problems(state: State) -> tuple[list[UnfinishedCell], list[str]]:
    """Cells of studies without a result, and what studies found no data for."""
    from xstilts.grid.state import GridFolder
    from xstilts.report import UnfinishedCell

    folder = GridFolder(state.results)
    problems, missing = [], []
    for path in sorted(folder.root.glob("studies/*/plan.json")):
        study = folder.load(path.parent.name)
        missing += [f"{study.name}: no data for {text}." for text in study.missing]
        for cell, status in zip(study.cells, folder.statuses(study.cells).values(), strict=True):
            if status != "done":
                failures = folder.failures(cell.key)
                why = str(failures[-1].get("what", "")) if failures else ""
                problems.append(UnfinishedCell(study.name, cell.name, status, why))
    return problems, missing


def _built(state: State, material: Material, *, reference: bool) -> Report:
    from dataclasses import replace

    from xstilts.config.progress import progress_bar
    from xstilts.report import SIMULATION, build

    with progress_bar("report", quiet=state.quiet) as progress:
        warning = SIMULATION if state.world else ""
        return build(replace(material, progress=progress), reference=reference, warning=warning)


def _written(
    made: Report, material: Material, asked: Mapping[str, Path | None], figure_format: str = ""
) -> dict[str, str]:
    """Write each form of the report that is `asked` for; form to absolute path."""
    from xstilts import report as reports
    from xstilts.files import write_json
    from xstilts.report import exports

    def xtreme_json(path: Path) -> None:
        write_json(path, exports.xtreme_record(material.scores, material.suite))

    def figures(path: Path) -> None:
        every = [figure for section in made.sections for figure in section.figures]
        reports.write_figures(every, path, [name for name in figure_format.split(",") if name])

    writers: dict[str, Callable[[Path], object]] = {
        "html": lambda path: reports.write_html(made, path),
        "latex": lambda path: reports.write_latex(made, path),
        "markdown": lambda path: reports.write_markdown(made, path),
        "csv": lambda path: exports.write_csv(material.cells, path),
        "parquet": lambda path: exports.write_parquet(material.cells, path),
        "mteb": lambda path: exports.write_mteb(material.cells, path),
        "xtreme_json": xtreme_json,
        "figures": figures,
    }
    files = {}
    for name, path in asked.items():
        if path is not None:
            writers[name](path)
            files[name] = str(path.absolute())
    return files


def _show(state: State, material: Material, made: Report, files: dict[str, str]) -> None:
    from xstilts.cli.output import table
    from xstilts.report import as_json
    from xstilts.report.exports import SCHEMA, long_rows

    def human() -> None:
        for shown in made.sections[0].tables:
            state.console.print(table(shown.columns, shown.rows, shown.title))
        for name, path in files.items():
            print(f"{name}: {path}")

    record = {
        **as_json(made),
        "verdicts": [_plain(verdict) for verdict in material.verdicts.values()],
        "scores": {"schema": SCHEMA, "rows": long_rows(material.newest)} if state.json else {},
        "files": files,
        "html": files["html"],
    }
    state.emit(record, human)


def _plain(verdict: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(verdict), "words": verdict.words}


def demo(
    context: typer.Context,
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page; the results folder when empty.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Comma-separated; the tour is taken once each.")
    ] = "42",
) -> None:
    """Take the tour: sandbox world, modules, compositions, evaluation, report. Offline, minutes.

    Example: xstilts demo --seeds 1,2,3
    """
    from xstilts.cli.demo import run_demo
    from xstilts.cli.training import seed_numbers

    state: State = context.obj
    state.refuse_dry_run("demo")
    state.world = "sandbox"
    labels = {score.intermediate for score in run_demo(state, seed_numbers(seeds))}
    cells = _chosen(state, set(), labels, "")
    material = _material(state, cells, baseline="none", suite="xtreme", draws=10_000)
    made = _built(state, material, reference=False)
    files = _written(made, material, {"html": html or state.results / "report.html"})
    _show(state, material, made, files)
