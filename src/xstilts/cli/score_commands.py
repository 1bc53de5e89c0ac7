"""`xstilts score`: a folder of predictions against a folder of labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.config.specs import SuiteSpec
    from xstilts.evaluate.xtreme import Scores, Summary


def score(
    context: typer.Context,
    predictions: Annotated[Path, typer.Argument(help="Folder with TASK/test-LANG.tsv|json files.")],
    labels: Annotated[Path, typer.Argument(help="Folder of the same layout with the labels.")],
    suite: Annotated[str, typer.Option(help="xtreme or xtreme-r.")] = "xtreme",
    output: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
) -> None:
    """Score predictions in XTREME's official layout, also those of other tools.

    Example: xstilts score predictions labels --suite xtreme --json
    """
    from xstilts.config.load import load_suite
    from xstilts.errors import FindingsError
    from xstilts.evaluate.xtreme import official, score_folder, summarise
    from xstilts.files import write_json

    state: State = context.obj
    state.refuse_dry_run("score")
    chosen = load_suite(suite)
    scores, absent = score_folder(predictions, labels, chosen)
    summary = summarise(scores, chosen)
    record = official(scores, summary)
    if output is not None:
        write_json(output, record)
    state.emit(record, lambda: _show(state, scores, summary, chosen))
    partial = [task for task in scores if task not in summary.tasks]
    if absent:
        shown = "\n".join(f"  {path}" for path in absent[:20])
        more = f"\n  and {len(absent) - 20} more" if len(absent) > 20 else ""
        raise FindingsError(
            f"{len(absent)} prediction files are missing, so there is no mean for "
            f"{', '.join(partial) or 'their tasks'}",
            where=shown + more,
            hint="Every language of a task that is there must be there.",
        )


def _show(state: State, scores: Scores, summary: Summary, suite: SuiteSpec) -> None:
    from xstilts.cli.output import table
    from xstilts.evaluate.xtreme import transfer_gaps

    rows: list[tuple[object, ...]] = []
    if summary.overall is not None:
        rows.append(("overall", "", summary.overall))
    else:
        state.note(f"no overall: missing {_shortened(summary.missing)}")
    rows += [("group", name, value) for name, value in summary.groups.items()]
    rows += [("task", name, value) for name, value in summary.tasks.items()]
    rows += [
        ("gap", f"{task} ({metric})", value)
        for task, (metric, value) in transfer_gaps(scores, summary).items()
    ]
    state.console.print(table(("", "", "score"), rows, suite.title))
    for task, by_language in scores.items():
        names = list(dict.fromkeys(n for v in by_language.values() for n in v if n != "mean"))
        lines = [
            (code, *(values.get(name, "") for name in names))
            for code, values in by_language.items()
        ]
        state.console.print(table((task, *names), lines))


def _shortened(missing: object) -> str:
    names = [str(name) for name in missing] if isinstance(missing, tuple | list) else []
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
