"""`xstilts data translate`: training rows in other languages."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from xstilts.cli.state import State, split_commas


def translate(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="A task (`xstilts tasks ls`) or its YAML.")],
    langs: Annotated[str, typer.Option(help="Comma-separated, such as de,ru,sw.")],
    model: Annotated[str, typer.Option(help="Seq2seq model: org/name@revision or a folder.")],
    split: Annotated[str, typer.Option(help="What is translated.")] = "train",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most this many rows, a nested subset.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that subset.")] = 42,
    code: Annotated[str, typer.Option(help="The model's code of the language.")] = "",
    beams: Annotated[int, typer.Option(min=1, help="Beams of the search; 1 is greedy.")] = 4,
) -> None:
    """Translate a task's rows; training finds them with --source-langs. Stopped, it continues.

    Example: xstilts data translate mnli --langs de,sw --model facebook/m2m100_418M --limit 50000
    """
    state: State = context.obj
    languages = split_commas(langs)
    if state.dry_run:
        spec, rows = state.session.translation_rows(task, split, limit=limit, seed=seed)
        record = {"task": spec.name, "rows": len(rows), "languages": languages, "model": model}
        state.emit(record, lambda: print(f"{len(rows):,} rows into {', '.join(languages)}"))
        return
    made = state.session.translate(
        task, languages, model, split, limit=limit, seed=seed, code=code, beams=beams
    )
    state.emit(made.records(), lambda: [print(_line(record)) for record in made.records()])


def _line(record: dict[str, Any]) -> str:
    return (
        f"{record['file']}: {record['rows']:,} rows, {record['kept_share']:.1%} kept, "
        f"{record['answers_by_markers']:.1%} of the answers by markers"
    )
