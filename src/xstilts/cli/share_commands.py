"""`xstilts zoo add|bundle|push|pull`: modules from and to other places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xstilts.cli.options import ReferenceArgument
from xstilts.cli.state import State

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
    _say(state, copy_into(state.session.zoo, folder))


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
    state: State = context.obj
    state.refuse_dry_run("zoo pull")
    _say(state, state.session.pull(reference, key=key).entry)


def push(
    context: typer.Context,
    reference: ReferenceArgument,
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
    state: State = context.obj
    session = state.session
    if state.dry_run:
        entry = session.zoo.find(reference)
        size = sum(file.size for file in entry.manifest.files) / 1e6
        record: dict[str, object] = {
            "module": entry.reference,
            "target": target,
            "scores": len(session.results.of_module(entry.manifest.digest)),
            "files": len(entry.manifest.files),
            "mb": round(size, 2),
        }
        state.emit(record, lambda: print(f"{entry.reference} ({size:.1f} MB) to {target}"))
        return
    made = session.push(
        reference,
        target,
        sign=sign,
        private=private,
        create_pr=create_pr,
        tags=tuple(tags or ()),
        message=message,
        license=license_id,
    )
    state.emit(made.records()[0], lambda: print(made.url or made.reference))


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
    entries = pack(state.session.zoo, references or [], into)
    record = {"folder": str(into), "modules": [entry.reference for entry in entries]}
    state.emit(record, lambda: print(f"{len(entries)} modules in {into}; use it with --zoo"))


def _say(state: State, entry: Entry) -> None:
    record = {
        "reference": entry.reference,
        "folder": str(entry.folder),
        "digest": entry.manifest.digest,
    }
    state.emit(record, lambda: print(entry.reference))
