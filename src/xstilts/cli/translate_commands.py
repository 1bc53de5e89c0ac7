"""`xstilts data translate`: training rows in other languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.config.specs import TaskSpec
    from xstilts.data.examples import Example


def translate(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="A task (`xstilts tasks ls`) or its YAML.")],
    langs: Annotated[str, typer.Option(help="Comma-separated, such as de,ru,sw.")],
    model: Annotated[str, typer.Option(help="Seq2seq model: org/name@revision or a folder.")],
    split: Annotated[str, typer.Option(help="What is translated.")] = "train",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most this many rows, a nested subset.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of that subset.")] = 42,
    code: Annotated[str, typer.Option(help="The model's code of the language.")] = "",
    beams: Annotated[int, typer.Option(help="Beams of the search; 1 is greedy.")] = 4,
) -> None:
    """Translate a task's rows; training finds them with --source-langs. Stopped, it continues.

    Example: xstilts data translate mnli --langs de,sw --model facebook/m2m100_418M --limit 50000
    """
    from xstilts.config.load import load_task
    from xstilts.data.sources import load, task_in_world

    state: State = context.obj
    root = _root(state)
    spec = task_in_world(load_task(task), root)
    rows = load(
        spec,
        split,
        spec.source_language,
        root,
        offline=state.session.offline,
        limit=limit or 0,
        seed=seed,
    )
    languages = [part for part in langs.split(",") if part]
    if state.dry_run:
        record = {"task": spec.name, "rows": len(rows), "languages": languages, "model": model}
        state.emit(record, lambda: print(f"{len(rows):,} rows into {', '.join(languages)}"))
        return
    done = [
        _into(
            state,
            state.session.data_target or root,
            spec,
            rows,
            split,
            language,
            model,
            code,
            beams,
        )
        for language in languages
    ]
    state.emit(done, lambda: [print(_line(record)) for record in done])


def _root(state: State) -> Path:
    from xstilts.errors import UsageError

    if state.session.data is None:
        raise UsageError(
            "translations are kept below a data folder, and there is none",
            hint="Name one with --data DIR.",
        )
    return state.session.data


def _into(
    state: State,
    root: Path,
    task: TaskSpec,
    rows: Sequence[Example],
    split: str,
    language: str,
    model: str,
    code: str,
    beams: int,
) -> dict[str, object]:
    from xstilts.config import paths
    from xstilts.data import translated
    from xstilts.data.sources import data_digest
    from xstilts.data.translation.model import Translator
    from xstilts.data.translation.rows import translate_rows

    with state.session.progress(f"{task.name} into {language}") as progress:
        translator = Translator(
            model,
            task.source_language,
            language,
            paths.cache_folder(),
            code=code,
            beams=beams,
            offline=state.session.offline,
            device=state.session.device,
            progress=progress,
        )
        result = translate_rows(rows, task.format, language, translator)
    folder = translated.folder_of(task, language, root)
    translated.write(folder / f"{split}.jsonl", result.rows)
    record: dict[str, object] = {
        "task": task.name,
        "split": split,
        "language": language,
        "source_language": task.source_language,
        "source_sha256": data_digest(rows),
        "model": model,
        "beams": beams,
        "rows": len(result.rows),
        "kept_share": round(result.kept, 4),
        "answers_by_markers": round(result.by_markers, 4),
    }
    translated.describe(folder, record)
    return {**record, "file": str(folder / f"{split}.jsonl")}


def _line(record: dict[str, object]) -> str:
    return (
        f"{record['file']}: {record['rows']:,} rows, {record['kept_share']:.1%} kept, "
        f"{record['answers_by_markers']:.1%} of the answers by markers"
    )
