"""`xstilts zoo`: the module library."""

from __future__ import annotations

from typing import Annotated

import typer

from xstilts.cli.state import State

app = typer.Typer(no_args_is_help=True, help="The module library.")
Reference = Annotated[str, typer.Argument(help="Such as `mnli/lora` or `@0a1b2c`.")]


@app.command("ls")
def list_modules(
    context: typer.Context,
    task: Annotated[str, typer.Option(help="Modules of one task only.")] = "",
    method: Annotated[str, typer.Option(help="Modules of one method preset only.")] = "",
) -> None:
    """List the modules.

    Example: xstilts zoo ls --task mnli
    """
    from xstilts.cli.output import table
    from xstilts.zoo import Zoo

    state: State = context.obj
    entries = [
        entry
        for entry in Zoo(state.zoo).entries()
        if (not task or entry.manifest.task == task)
        and (not method or entry.manifest.preset == method)
    ]
    columns = ("reference", "kind", "task", "seed", "dev", "parameters")
    rows = [
        (
            e.reference,
            e.manifest.kind,
            e.manifest.task,
            e.manifest.seed,
            e.manifest.training.get("dev_score") or "",
            f"{e.manifest.trainable_parameters:,}",
        )
        for e in entries
    ]
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    state.emit(records, lambda: state.console.print(table(columns, rows)))


@app.command("show")
def show(context: typer.Context, reference: Reference) -> None:
    """Show a module's manifest.

    Example: xstilts zoo show mnli/lora
    """
    from xstilts.zoo import Zoo

    state: State = context.obj
    entry = Zoo(state.zoo).find(reference)
    record = {"folder": str(entry.folder), **entry.manifest.model_dump()}
    state.emit(record, lambda: state.console.print_json(data=record))


@app.command("rm")
def remove(context: typer.Context, reference: Reference) -> None:
    """Remove a module.

    Example: xstilts zoo rm mnli/lora --yes
    """
    from xstilts.errors import UsageError
    from xstilts.zoo import Zoo

    state: State = context.obj
    zoo = Zoo(state.zoo)
    entry = zoo.find(reference)
    users = [
        other.reference
        for other in zoo.entries()
        if any(parent.digest == entry.manifest.digest for parent in other.manifest.parents)
    ]
    if users:
        raise UsageError(f"{entry.reference} is part of {', '.join(users)}", hint="Remove those.")
    if not state.dry_run:
        if not state.yes:
            typer.confirm(f"Remove {entry.reference}?", abort=True, err=True)
        zoo.remove(entry)
    state.emit({"removed": entry.reference}, lambda: print(f"removed {entry.reference}"))


@app.command("verify")
def verify(context: typer.Context) -> None:
    """Check every file of every module.

    Example: xstilts zoo verify
    """
    from xstilts.errors import IntegrityError
    from xstilts.zoo import Zoo
    from xstilts.zoo.upkeep import broken

    state: State = context.obj
    found = broken(Zoo(state.zoo))
    if found:
        lines = "\n".join(f"  {folder}: {error.what}" for folder, error in found)
        raise IntegrityError(f"{len(found)} modules are broken", where=lines)
    state.emit({"broken": []}, lambda: print("every module is whole"))
