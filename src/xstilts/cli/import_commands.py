"""`xstilts zoo import`: modules of the adapters library and of peft."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xstilts.cli.state import State


def import_module(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A folder of the adapters library or of peft.")],
    name: Annotated[str, typer.Option(help="Name in the library; the folder's when empty.")] = "",
    task: Annotated[str, typer.Option(help="Whose labels its head speaks.")] = "",
    backbone: Annotated[str, typer.Option(help="Preset, folder or org/name@revision.")] = "",
    from_pickle: Annotated[
        bool, typer.Option("--from-pickle", help="Read .bin files, in another process.")
    ] = False,
    allow: Annotated[
        bool, typer.Option("--allow-base-mismatch", help="Take a module of another base model.")
    ] = False,
) -> None:
    """Take a module of another library into the module library, converted to its own methods.

    Example: xstilts zoo import ./my-peft-folder --name mnli --task mnli
    """
    from xstilts import importing
    from xstilts.backbone import Backbone
    from xstilts.zoo import Zoo, require_name

    state: State = context.obj
    called = name or path.resolve().name.lower()
    require_name(called)
    encoder = Backbone.load(backbone or state.backbone, offline=state.offline)
    found = importing.read_folder(path, encoder, task, pickles=from_pickle)
    importing.require_base(found, encoder.identity, allow=allow)
    record: dict[str, object] = {
        "library": found.library,
        "method": found.adapter.method,
        "parameters": found.adapter.num_parameters,
        "head": found.head.task.format if found.head else "",
        "notes": list(found.notes),
    }
    if not state.dry_run:
        entry = importing.add_to(Zoo(state.zoo), found, called, encoder, path)
        record |= {"reference": entry.reference, "folder": str(entry.folder)}
    for note in found.notes:
        state.note(note)
    state.emit(record, lambda: print(record.get("reference", "nothing was written (--dry-run)")))
