"""`xstilts zoo import`: modules of the adapters library and of peft."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    backbone: Annotated[str, typer.Option(help="Preset, folder or org/name@revision.")] = "",
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
    import tempfile

    from xstilts.composition import importing
    from xstilts.composition.parser import require_readable
    from xstilts.config.load import load_task
    from xstilts.errors import NotFoundError
    from xstilts.zoo import hubs

    state: State = context.obj
    remote = place.startswith("hf:")
    stem = place.partition("@")[0].rpartition("/")[2] if remote else Path(place).resolve().name
    called = name or stem.lower()
    require_readable(called)
    if not state.dry_run:
        state.session.require_writable("zoo")
    if task:
        load_task(task)
    if not remote and not Path(place).is_dir():
        raise NotFoundError(f"no folder {place}", hint="Check the path, or name hf:org/name.")
    with tempfile.TemporaryDirectory(prefix="xstilts-import-") as temporary:
        path, origin = Path(temporary) if remote else Path(place), ""
        if remote:
            origin = hubs.fetch_files(place, importing.FILES, path, offline=state.session.offline)
        given = backbone or state.session.backbone_reference
        encoder = state.session.backbone(given)
        found = importing.read_folder(path, encoder, task, pickles=from_pickle)
        importing.require_base(found, encoder.identity, given=given, allow=allow)
        record: dict[str, object] = {
            "library": found.library,
            "method": found.adapter.method,
            "parameters": found.adapter.num_parameters,
            "head": found.head.task.format if found.head else "",
            "notes": list(found.notes),
            "origin": origin,
        }
        if not state.dry_run:
            entry = importing.add_to(state.session.zoo, found, called, encoder, path, origin)
            record |= {"reference": entry.reference, "folder": str(entry.folder)}
    for note in found.notes:
        state.note(note)
    state.emit(record, lambda: print(record.get("reference", "nothing was written (--dry-run)")))
