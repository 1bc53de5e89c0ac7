"""`xstilts zoo import`: modules of the adapters library and of peft."""

from __future__ import annotations

from typing import Annotated

import typer

from xstilts.cli.options import BackboneOption
from xstilts.cli.state import State


def import_module(
    context: typer.Context,
    place: Annotated[
        str,
        typer.Argument(
            help="A folder of the adapters library or of peft, or hf:org/name@revision."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name in the library; the folder's when empty.")] = "",
    task: Annotated[str, typer.Option(help="Whose labels its head speaks.")] = "",
    backbone: BackboneOption = "",
    from_pickle: Annotated[
        bool, typer.Option("--from-pickle", help="Read .bin files, in another process.")
    ] = False,
    allow: Annotated[
        bool, typer.Option("--allow-base-mismatch", help="Take a module of another base model.")
    ] = False,
) -> None:
    """Take a module of another library into the module library, converted to its own methods.

    A `.bin` is a pickle: it is read only with --from-pickle, by a process that loads nothing else.

    Example: xstilts zoo import hf:AdapterHub/xlm-roberta-base-sw-wiki_pfeiffer --from-pickle
    """
    state: State = context.obj
    made = state.session.import_module(
        place,
        name=name,
        task=task,
        backbone=backbone,
        from_pickle=from_pickle,
        allow_base_mismatch=allow,
        dry_run=state.dry_run,
    )
    for note in made.found.notes:
        state.note(note)
    (record,) = made.records()
    state.emit(record, lambda: print(record.get("reference", "nothing was written (--dry-run)")))
