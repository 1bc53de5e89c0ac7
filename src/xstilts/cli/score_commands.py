"""`xstilts score`: a folder of predictions against a folder of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from xstilts.cli.state import State


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
    from xstilts.errors import FindingsError
    from xstilts.files import write_json

    state: State = context.obj
    state.refuse_dry_run("score")
    result = state.session.score(predictions, labels, suite)
    if output is not None:
        write_json(output, result.official)

    def human() -> None:
        if result.summary.overall is None:
            state.note(f"no overall: missing {_shortened(result.summary.missing)}")
        for view in result.views():
            state.table(view.columns, view.rows, view.title)

    state.emit(result.official, human)
    absent = result.absent
    partial = [task for task in result.found if task not in result.summary.tasks]
    if absent:
        shown = "\n".join(f"  {path}" for path in absent[:20])
        more = f"\n  and {len(absent) - 20} more" if len(absent) > 20 else ""
        raise FindingsError(
            f"{len(absent)} files of predictions or labels are missing, so there is no mean for "
            f"{', '.join(partial) or 'their tasks'}",
            where=shown + more,
            hint="Every language of a task that is there must be there.",
        )


def _shortened(missing: Sequence[str]) -> str:
    return ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
