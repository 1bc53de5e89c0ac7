"""`xstilts grid`: studies of many cells."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State, split_commas
from xstilts.cli.training import seed_numbers, shown_command
from xstilts.config.draws import DRAWS
from xstilts.errors import FindingsError, NotFoundError, PreemptedError, UsageError

if TYPE_CHECKING:
    from xstilts.grid.context import GridContext
    from xstilts.grid.spec import StudySpec
    from xstilts.grid.state import GridFolder, PlannedStudy

app = typer.Typer(help="Studies: many cells, finished by any number of workers.")
Study = Annotated[str, typer.Argument(help="A study of configs/studies, or its YAML.")]
BackbonesOption = Annotated[
    str, typer.Option("--backbone", help="Instead of the study's: comma-separated backbones.")
]
SeedsOption = Annotated[str, typer.Option(help="Other seeds, comma-separated.")]
Intermediates = Annotated[
    str,
    typer.Option(
        help="Only these, comma-separated; after such a run the other commands speak of this part."
    ),
]
Cells = Annotated[
    list[str] | None, typer.Option("--cell", help="The start of a cell's hash, or `all`.")
]


@app.command("plan")
def plan(
    context: typer.Context,
    study: Study,
    backbone: BackbonesOption = "",
    seeds: SeedsOption = "",
    intermediates: Intermediates = "",
    each: Annotated[bool, typer.Option("--cells", help="A line for each cell.")] = False,
) -> None:
    """What a study will compute: new, cached and failed cells, steps, hours and disk.

    Example: xstilts grid plan alignment-by-domain --world sandbox
    """
    state: State = context.obj
    state.note(f"planning study {study}")
    chosen = _chosen(state, study, backbone, seeds, intermediates)
    _require_backbones(state, chosen)
    from xstilts.cli.grid_output import print_plan
    from xstilts.grid.plan import estimate

    planned, grid_context = _planned(state, chosen, plan_only=True)
    with state.session.progress("calibrating") as progress:
        lines = estimate(planned, grid_context, progress)
    print_plan(state, planned, lines, each=each)


@app.command("run")
def run(
    context: typer.Context,
    study: Study,
    engine: Annotated[str, typer.Option(help="local, ray or slurm.")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="How many; when left out one a GPU, or a core without one."),
    ] = None,
    backbone: BackbonesOption = "",
    seeds: SeedsOption = "",
    intermediates: Intermediates = "",
    engine_options: Annotated[
        list[str] | None, typer.Option("--engine-option", help="Of the engine: key=value.")
    ] = None,
) -> None:
    """Run a study on this machine, on Ray or on SLURM; what is done is never computed again.

    At its end the study's answer is read off and printed; `grid answer` does that again.

    Example: xstilts grid run alignment-by-domain --world sandbox --workers 2
    """
    from xstilts.grid.engines import chosen_engine

    state: State = context.obj
    made, values = chosen_engine(engine, engine_options or [])
    _require_no_number(state.session.device_option)
    if state.dry_run:
        plan(context, study, backbone, seeds, intermediates)
        return
    state.note(f"planning study {study}")
    chosen = _chosen(state, study, backbone, seeds, intermediates)
    state.session.require_writable("zoo", "results", "home", "cache")
    _require_backbones(state, chosen)
    from xstilts.cli.grid_output import print_status, status_record
    from xstilts.grid import drive

    planned, grid_context = _planned(state, chosen)
    with state.session.progress(f"study {planned.name}") as progress:
        drive.drive(
            planned,
            grid_context,
            engine=made,
            options=values,
            workers=workers,
            device=state.session.device_option,
            global_options=_global_options(state),
            note=state.note,
            progress=progress,
        )
    folder, more = grid_context.folder, dict[str, Any]()
    counts = status_record(folder, planned)["counts"]
    if planned.spec.get("answer") and not drive.unfinished(counts):
        more = {"answer": _write_answer(state, folder, planned, None, DRAWS)}
    record = print_status(state, folder, planned, more=more)
    if more and not state.json:
        _print_answer(more["answer"])
    _require_done(study, record["counts"])


@app.command("worker")
def worker(
    context: typer.Context,
    study: Study,
    cells: Cells = None,
    plan: Annotated[str, typer.Option(help="Digest of a plan; the study's last when empty.")] = "",
) -> None:
    """Compute cells of a study in this process: what every engine starts; all without --cell.

    Example: xstilts grid worker alignment-by-domain --cell 3f9a --world sandbox
    """
    from xstilts.grid.drive import compute

    state: State = context.obj
    state.refuse_dry_run("grid worker")
    _, planned = _started(state, study, plan)
    grid_context = state.session.grid_context(shown_command())
    computed, counts = compute(planned, cells or ["all"], grid_context, state.note)
    record = {"study": planned.name, "computed": computed, "counts": counts}
    state.emit(record, lambda: print(f"{computed} cells computed, {counts}"))
    _require_done(study, counts)


@app.command("status")
def status(
    context: typer.Context,
    study: Study,
    each: Annotated[bool, typer.Option("--cells", help="A line for each cell.")] = False,
) -> None:
    """How far a study is, who works on it, and what failed.

    Example: xstilts grid status alignment-by-domain --world sandbox
    """
    from xstilts.cli.grid_output import print_status

    state: State = context.obj
    folder, planned = _started(state, study)
    print_status(state, folder, planned, each=each)


@app.command("answer")
def answer(
    context: typer.Context,
    study: Study,
    to: Annotated[Path | None, typer.Option(help="Folder; the study's own when empty.")] = None,
    draws: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = DRAWS,
) -> None:
    """The answer to a study's question, from what is finished: a page, Markdown, JSON, pictures.

    Question and tables are those that the study's file has now; what was run is not changed by it.
    Exit 3 where cells are missing or failed; the verdict's line names them.

    Example: xstilts grid answer alignment-by-domain --world sandbox
    """
    state: State = context.obj
    state.refuse_dry_run("grid answer")
    folder, planned = _started(state, study)
    planned = _asked_now(state, study, planned)
    record = _write_answer(state, folder, planned, to, draws)
    state.emit(record, lambda: _print_answer(record))
    if record["unfinished"]:
        raise FindingsError(
            f"the answer is without {len(record['unfinished'])} cells of the study",
            where="\n".join(f"  {text}" for text in record["unfinished"][:20]),
            hint=f"See why: {shown_command('grid', 'status', study)}",
        )


@app.command("retry")
def retry(context: typer.Context, study: Study, cells: Cells = None) -> None:
    """Forgive failures and cancellations; the next `grid run` tries these cells again.

    Example: xstilts grid retry alignment-by-domain --world sandbox
    """
    from xstilts.grid.cell import named

    state: State = context.obj
    state.refuse_dry_run("grid retry")
    folder, planned = _started(state, study)
    statuses = folder.statuses(planned.cells)
    wanted = named(planned.cells, cells) if cells else planned.cells
    ended = ("failed", "cancelled")
    again = [c for c in wanted if statuses[c.key] in ended]
    for cell in again:
        folder.forgive(cell.key)
    others = Counter(statuses[c.key] for c in wanted if statuses[c.key] not in ended)
    record = {"study": planned.name, "retried": [cell.short for cell in again], "others": others}
    shown = ", ".join(f"{count} {status}" for status, count in others.items())
    why = f"; the others neither failed nor were cancelled: {shown}" if others else ""
    state.emit(record, lambda: print(f"{len(again)} cells will be tried again{why}"))


@app.command("cancel")
def cancel(context: typer.Context, study: Study, cells: Cells = None) -> None:
    """Let the workers of a study stop after a checkpoint, or leave out some cells of it.

    Without --cell the study goes on with the next `grid run`; cancelled cells need `grid retry`.

    Example: xstilts grid cancel alignment-by-domain --world sandbox
    """
    from xstilts.grid.cell import named

    state: State = context.obj
    state.refuse_dry_run("grid cancel")
    folder, planned = _started(state, study)
    chosen = named(planned.cells, cells) if cells else []
    for cell in chosen:
        folder.cancel(cell.key)
    if not cells:
        folder.cancel_study(planned.name)
    record = {"study": planned.name, "cancelled": [cell.short for cell in chosen] or "study"}
    text = f"{len(chosen)} cells" if cells else f"study {planned.name}"
    state.emit(record, lambda: print(f"cancelled: {text}"))


@app.command("logs")
def logs(context: typer.Context, study: Study, cells: Cells = None) -> None:
    """What cells said at their last attempt; of failed and running ones without --cell.

    Example: xstilts grid logs alignment-by-domain --cell 3f9a --world sandbox
    """
    from xstilts.grid.cell import named

    state: State = context.obj
    folder, planned = _started(state, study)
    statuses = folder.statuses(planned.cells)
    chosen = (
        named(planned.cells, cells)
        if cells
        else [c for c in planned.cells if statuses[c.key] in ("failed", "running")]
    )
    found = []
    for cell in chosen:
        paths = sorted(folder.folder(cell.key).glob("log-*.txt"))
        text = paths[-1].read_text(encoding="utf-8", errors="replace") if paths else ""
        found.append({"cell": cell.short, "name": cell.name, "log": text})

    def human() -> None:
        for entry in found:
            print(f"== {entry['cell']} {entry['name']}\n{entry['log']}", end="")

    state.emit(found, human)


# -- what the commands share


def _chosen(state: State, study: str, backbone: str, seeds: str, intermediates: str) -> StudySpec:
    """The study with what the command line changes."""
    from xstilts.config.load import cut_down
    from xstilts.grid.spec import load_study

    numbers = seed_numbers(seeds) if seeds else ()
    chosen = cut_down(
        load_study(study, sandbox=bool(state.session.world)),
        intermediates=split_commas(intermediates),
        seeds=numbers,
    )
    if not backbone:
        return chosen
    return chosen.model_copy(update={"backbones": split_commas(backbone)})


def _require_backbones(state: State, spec: StudySpec) -> None:
    """Refuse a study one of whose backbones is nowhere, before torch is imported."""
    for name in spec.backbones or [""]:
        state.session.require_backbone(state.session.study_backbone(name))


def _require_no_number(device: str) -> None:
    """Refuse one GPU of several for the workers of a grid, each of which sees one only."""
    kind, _, number = device.partition(":")
    if kind == "cuda" and number:
        raise UsageError(
            f"--device {device} names one GPU, and the workers of a grid each get their own",
            hint=f"Say which they may have: CUDA_VISIBLE_DEVICES={number}, without --device.",
        )


def _global_options(state: State) -> list[str]:
    """The global options of this command, for its workers."""
    session = state.session
    given = {
        "--world": session.world or None,
        "--data": os.pathsep.join(map(str, session.data_option)) or None,
        "--zoo": session.zoo_folder,
        "--results": session.results_folder,
        "--device": session.device_option or None,
    }
    pairs = [text for item in given.items() if item[1] is not None for text in map(str, item)]
    return [*pairs, *(["--offline"] if session.offline else [])]


def _planned(
    state: State, spec: StudySpec, *, plan_only: bool = False
) -> tuple[PlannedStudy, GridContext]:
    from xstilts.grid.plan import plan_study

    grid_context = state.session.grid_context(shown_command(), plan_only=plan_only)
    with state.session.progress("planning") as progress:
        return plan_study(spec, grid_context, progress), grid_context


def _write_answer(
    state: State, folder: GridFolder, planned: PlannedStudy, to: Path | None, draws: int
) -> dict[str, Any]:
    from xstilts.grid.answer.write import write_answer
    from xstilts.report.build import SIMULATION

    store, warning = state.session.results, SIMULATION if state.session.world else ""
    with state.session.progress(f"answer to {planned.name}") as progress:
        return write_answer(
            planned, folder, store, to, draws=draws, warning=warning, progress=progress
        )


def _print_answer(record: dict[str, Any]) -> None:
    """Question, verdict, and where the report is."""
    print(f"{record['question']}\n{record['line']}\nreport: {record['html']}")


def _started(state: State, study: str, plan: str = "") -> tuple[GridFolder, PlannedStudy]:
    from xstilts.grid.spec import study_name
    from xstilts.grid.state import GridFolder

    folder = GridFolder(state.session.results_folder)
    start = shown_command("grid", "run", study)
    return folder, folder.load(study_name(study), plan, start=start)


def _require_done(study: str, counts: Mapping[str, int]) -> None:
    """Refuse to call a study finished that is not.

    Raises:
        FindingsError: The rest is finished, but some cells failed.
        PreemptedError: Cells are left.
    """
    from xstilts.grid.drive import unfinished

    bad = {name: counts[name] for name in ("failed", "blocked", "cancelled") if counts.get(name)}
    if bad:
        shown = ", ".join(f"{count} cells {name}" for name, count in bad.items())
        logs, retry = (shown_command("grid", word, study) for word in ("logs", "retry"))
        raise FindingsError(
            f"study {study}: {shown}; the rest is finished",
            hint=f"{logs} says why; then {retry}",
        )
    if unfinished(counts):
        raise PreemptedError(
            f"study {study} is not finished: its workers were stopped, or are queued",
            hint=f"Go on: {shown_command()}",
        )


def _asked_now(state: State, study: str, planned: PlannedStudy) -> PlannedStudy:
    """The study as it was run, with the question that its file asks now."""
    from xstilts.grid.spec import ASKED, load_study

    try:
        now = load_study(study, sandbox=bool(state.session.world))
    except NotFoundError:  # the plan has all of it
        return planned
    return replace(planned, spec={**planned.spec, **now.model_dump(mode="json", include=ASKED)})
