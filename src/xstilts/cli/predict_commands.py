"""`xstilts predict`: ask a trained module."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from xstilts.cli.options import BackboneOption
from xstilts.cli.state import State
from xstilts.files import without_nan

_CHUNK = 1024
"""Inputs predicted at once."""

Texts = list[str] | None


def predict(
    context: typer.Context,
    expression: Annotated[str, typer.Argument(help="A module or an expression with a head.")],
    text: Annotated[Texts, typer.Option(help="A text; repeat it for several.")] = None,
    text2: Annotated[Texts, typer.Option(help="The second text of each pair.")] = None,
    question: Annotated[Texts, typer.Option(help="A question (about --context).")] = None,
    passage: Annotated[Texts, typer.Option("--context", help="What it is about.")] = None,
    choice: Annotated[Texts, typer.Option(help="A choice; repeat it for each.")] = None,
    file: Annotated[
        str, typer.Option("--input", help="JSON lines with the fields; `-` is stdin.")
    ] = "",
    language: Annotated[str, typer.Option("--langs", help="Of the inputs; fills {lang}.")] = "",
    task: Annotated[str, typer.Option(help="Which head, for a module with several.")] = "",
    backbone: BackboneOption = "",
) -> None:
    """Predict with a trained module; one JSON line for each input.

    Fields of a line: `text` and `text_pair`; `words` (or `text` cut at blanks) for taggers;
    `question` and `context`; `context`, `question` and `choices`. An `id` is kept.

    Example: xstilts predict mnli --text "A man runs." --text2 "Somebody moves."
    """
    from xstilts.tasks.encoding import row_length
    from xstilts.tasks.formats import FORMATS

    state: State = context.obj
    flags = {"text": text, "text_pair": text2, "question": question, "context": passage}
    given = {name: values for name, values in flags.items() if values}
    rows = _from_file(file) if file else iter(_from_flags(given, choice))
    _require_one_source(file, given, choice)
    asked = state.session.asked(expression, language=language, task=task, backbone=backbone)
    task_of_head = asked.require_head().task
    names = FORMATS.get(task_of_head.format).FIELDS
    while chunk := list(islice(rows, _CHUNK)):
        fields = [_with_text(row, names) for row in chunk]
        for prediction in asked.predict(fields, language=language):
            record = without_nan(prediction.record())
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    if asked.num_cut:
        length = row_length(task_of_head, asked.backbone)
        state.note(f"{asked.num_cut:,} of the inputs were cut at {length} sub-words")


def _require_one_source(file: str, given: dict[str, list[str]], choice: Texts) -> None:
    from xstilts.errors import UsageError

    if bool(file) == bool(given or choice):
        raise UsageError(
            "give inputs either as options or with --input",
            hint="For example --text 'A man runs.', or --input rows.jsonl.",
        )


def _from_flags(given: dict[str, list[str]], choice: Texts) -> list[dict[str, Any]]:
    """Inputs of options that are repeated together; all choices belong to one input."""
    from xstilts.errors import UsageError

    counts = {len(values) for values in given.values()} or {1}
    if len(counts) > 1 or (choice and counts != {1}):
        shown = ", ".join(f"{len(values)} of {name}" for name, values in given.items())
        raise UsageError(
            f"the options do not pair up: {shown}",
            hint="Repeat each equally often; several inputs with choices go into --input FILE.",
        )
    rows: list[dict[str, Any]] = [
        {name: values[i] for name, values in given.items()} for i in range(counts.pop())
    ]
    if choice:
        rows[0] = {**rows[0], "choices": choice}
    return rows


def _from_file(file: str) -> Iterator[dict[str, Any]]:
    from xstilts.data.inputs import input_lines
    from xstilts.errors import NotFoundError

    if file != "-" and not Path(file).is_file():
        raise NotFoundError(f"no file {file}", hint="Check --input.")
    source = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115
    with source as lines:
        for number, row in input_lines(lines, file):
            yield {"id": str(number - 1), **row}


def _with_text(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The row with its `text` under the one name that the format has, such as a tagger's words."""
    one = names[0] if len(names) == 1 else "text"
    if one in row or "text" not in row:
        return row
    return {**{name: value for name, value in row.items() if name != "text"}, one: row["text"]}
