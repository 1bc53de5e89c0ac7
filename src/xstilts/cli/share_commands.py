"""`xstilts zoo add|bundle|push|pull`: modules from and to other places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State
from xstilts.cli.zoo_commands import Reference, open_zoo

if TYPE_CHECKING:
    from xstilts.zoo import Entry


def add(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A module folder, such as one from a colleague.")],
) -> None:
    """Copy a module folder into the library, after checking every file.

    Example: xstilts zoo add ./downloads/mnli-lora
    """
    from xstilts.errors import NotFoundError
    from xstilts.zoo.maintenance import copy_into

    state: State = context.obj
    state.refuse_dry_run("zoo add")
    if not folder.is_dir():
        raise NotFoundError(f"no folder {folder}", hint="Check the path.")
    _say(state, copy_into(open_zoo(state), folder))


def pull(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="hf:org/name@v1, s3://bucket/path, ./folder.")],
    key: Annotated[
        Path | None, typer.Option(help="Refuse it unless this public key signed.")
    ] = None,
) -> None:
    """Fetch a module into the library; it appears there verified, or not at all.

    Example: xstilts zoo pull hf:org/mnli-lora@v1
    """
    from xstilts.zoo import hubs

    state: State = context.obj
    state.refuse_dry_run("zoo pull")
    _say(state, hubs.pull(reference, open_zoo(state), key=key, offline=state.offline))


def push(
    context: typer.Context,
    reference: Reference,
    target: Annotated[
        str, typer.Argument(help="hf:org/name, s3://bucket/zoo, folder:/shared/zoo.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead.")
    ] = False,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Name for the revision.")] = None,
    message: Annotated[str, typer.Option(help="Of the commit.")] = "",
    sign: Annotated[Path | None, typer.Option(help="Private key (PEM) to sign with.")] = None,
    license_id: Annotated[
        str, typer.Option("--license", help="Of the module, for its card, such as apache-2.0.")
    ] = "",
) -> None:
    """Share a module with its card and scores, all of it or nothing.

    Example: xstilts zoo push mnli/lora hf:org/mnli-lora --tag v1 --sign key.pem
    """
    from xstilts.zoo import hubs

    state: State = context.obj
    entry = open_zoo(state).find(reference)
    scores = _scores(state, entry)
    record: dict[str, object] = {"module": entry.reference, "target": target, "scores": len(scores)}
    if state.dry_run:
        size = sum(file.size for file in entry.manifest.files) / 1e6
        record |= {"files": len(entry.manifest.files), "mb": round(size, 2)}
        state.emit(record, lambda: print(f"{entry.reference} ({size:.1f} MB) to {target}"))
        return
    options = hubs.PushOptions(private, create_pr, tuple(tags or ()), message, license_id)
    made = hubs.push(entry.folder, target, options, scores=scores, sign=sign, offline=state.offline)
    record |= {"reference": made.reference, "url": made.url}
    state.emit(record, lambda: print(made.url or made.reference))


def _scores(state: State, entry: Entry) -> list[dict[str, Any]]:
    """Stored rows of the module by itself, for its card."""
    from xstilts.evaluate.store import ResultStore
    from xstilts.files import digest

    own = digest(f"@{entry.manifest.digest}")
    rows = ResultStore(state.results).scores()
    return [row.model_dump() for row in rows if row.main and row.digest == own]


def bundle(
    context: typer.Context,
    into: Annotated[Path, typer.Argument(help="A new folder; it becomes a library of its own.")],
    references: Annotated[
        list[str] | None, typer.Argument(help="Modules; empty takes the whole library.")
    ] = None,
) -> None:
    """Copy modules and all that they need into a folder for a machine without a network.

    Example: xstilts zoo bundle ./usb-stick fused mnli/lora
    """
    from xstilts.zoo.maintenance import bundle as pack

    state: State = context.obj
    state.refuse_dry_run("zoo bundle")
    entries = pack(open_zoo(state), references or [], into)
    record = {"folder": str(into), "modules": [entry.reference for entry in entries]}
    state.emit(record, lambda: print(f"{len(entries)} modules in {into}; use it with --zoo"))


def _say(state: State, entry: Entry) -> None:
    record = {
        "reference": entry.reference,
        "folder": str(entry.folder),
        "digest": entry.manifest.digest,
    }
    state.emit(record, lambda: print(entry.reference))
