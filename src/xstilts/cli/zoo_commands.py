"""`xstilts zoo`: the module library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli import export_commands, import_commands, share_commands, zoo_listing
from xstilts.cli.options import BackboneOption, ReferenceArgument
from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.zoo.maintenance import Ancestor

app = typer.Typer(no_args_is_help=True, help="The module library.")
app.command("ls")(zoo_listing.list_modules)
app.command("search")(zoo_listing.search)
app.command("import")(import_commands.import_module)
app.command("export")(export_commands.export)
for _verb in ("add", "pull", "push", "bundle"):
    app.command(_verb)(getattr(share_commands, _verb))
_SAME_RUN = (
    "`run` is the digest of the training's inputs: equal ones mean the same data, settings and\n"
    "seed, never the same weights, for another machine rounds otherwise."
)


@app.command("show")
def show(context: typer.Context, reference: ReferenceArgument) -> None:
    """Show a module's manifest, and what it was made from as a tree.

    Example: xstilts zoo show mnli/lora
    """
    from xstilts.zoo.maintenance import lineage

    state: State = context.obj
    zoo = state.session.zoo
    entry = zoo.find(reference)
    tree = lineage(zoo, entry)
    record = {"folder": str(entry.folder), **entry.manifest.model_dump(), "lineage": _tree(tree)}

    def human() -> None:
        state.console.print_json(data={k: v for k, v in record.items() if k != "lineage"})
        print("\n".join(_branches(tree, 0)))
        if entry.manifest.run:
            state.note(_SAME_RUN)

    state.emit(record, human)


def _tree(node: Ancestor) -> dict[str, Any]:
    return {
        "reference": node.reference,
        "digest": node.digest,
        "role": node.role,
        "here": node.entry is not None,
        "parents": [_tree(parent) for parent in node.parents],
    }


def _branches(node: Ancestor, depth: int) -> list[str]:
    missing = "" if node.entry else "  (not in the library)"
    own = "  " * depth + (f"{node.role}: " if node.role else "") + node.reference + missing
    return [own, *(line for parent in node.parents for line in _branches(parent, depth + 1))]


@app.command("diff")
def diff(
    context: typer.Context,
    left: ReferenceArgument,
    right: Annotated[str, typer.Argument(help="The other module.")],
) -> None:
    """Show where the manifests of two modules differ.

    Example: xstilts zoo diff mnli/seq_bn mnli/lora
    """
    from xstilts.zoo.maintenance import diff as compare

    state: State = context.obj
    zoo = state.session.zoo
    found = compare(zoo.find(left), zoo.find(right))
    records = [{"place": d.place, "left": d.left, "right": d.right} for d in found]
    rows = [(d.place, str(d.left), str(d.right)) for d in found]
    state.emit(records, lambda: state.table(("place", left, right), rows))


@app.command("tag")
def tag(
    context: typer.Context,
    reference: ReferenceArgument,
    name: Annotated[str, typer.Argument(help="Such as best or v1; `mnli:best` then finds it.")],
) -> None:
    """Give a module a name of your own; a tag can be moved.

    Example: xstilts zoo tag @0a1b2c best
    """
    state: State = context.obj
    state.refuse_dry_run("zoo tag")
    zoo = state.session.zoo
    made = zoo.tag(zoo.find(reference), name)
    state.emit({"tag": made}, lambda: print(made))


@app.command("gc")
def collect(
    context: typer.Context,
    broken: Annotated[bool, typer.Option(help="Also modules that do not verify.")] = False,
    untagged: Annotated[
        bool, typer.Option(help="Also modules without a tag that no tagged one needs.")
    ] = False,
) -> None:
    """Delete leftovers of killed commands and tags of modules that are gone.

    Example: xstilts zoo gc --dry-run
    """
    from xstilts.zoo.maintenance import gc

    state: State = context.obj
    zoo = state.session.require_zoo()
    if (broken or untagged) and not state.dry_run and not state.yes:
        typer.confirm("Delete modules?", abort=True, err=True)
    gone = gc(zoo, broken_too=broken, untagged=untagged, dry_run=state.dry_run)
    state.emit({"gone": gone}, lambda: print("\n".join(gone) or "nothing to delete"))


@app.command("shrink")
def shrink(
    context: typer.Context,
    reference: ReferenceArgument,
    backbone: BackboneOption = "",
) -> None:
    """Keep a full fine-tune as its difference from the backbone: smaller, and the same bits.

    Example: xstilts zoo shrink mnli/full
    """
    state: State = context.obj
    state.session.require_writable("zoo")
    loaded = state.session.backbone_for(reference, backbone)
    from xstilts.composition.shrink import shrink as store

    zoo = state.session.zoo
    made = store(zoo.find(reference, loaded.identity), zoo, loaded)
    before, after = made.before / 1e6, made.after / 1e6
    record = {
        "reference": made.entry.reference,
        "folder": str(made.entry.folder),
        "mb": round(after, 2),
        "mb_whole": round(before, 2),
    }
    shown = f"{made.entry.reference}  {after:.1f} MB instead of {before:.1f} MB"
    state.emit(record, lambda: print(shown))


@app.command("rm")
def remove(context: typer.Context, reference: ReferenceArgument) -> None:
    """Remove a module.

    Example: xstilts zoo rm mnli/lora --yes
    """
    state: State = context.obj
    entry = state.session.remove(reference, dry_run=True)
    if not state.dry_run:
        if not state.yes:
            typer.confirm(f"Remove {entry.reference}?", abort=True, err=True)
        state.session.remove(reference)
    state.emit({"removed": entry.reference}, lambda: print(f"removed {entry.reference}"))


@app.command("verify")
def verify(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="One module; empty checks all.")] = "",
    require_signature: Annotated[
        bool, typer.Option("--require-signature", help="Refuse modules that are not signed.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="Public key (PEM) of the signer.")] = None,
) -> None:
    """Check every file of every module, and its signature where that is asked for.

    Example: xstilts zoo verify mnli/lora --require-signature --key team.pub
    """
    from xstilts.errors import IntegrityError, UsageError
    from xstilts.zoo import verify_folder
    from xstilts.zoo.maintenance import broken

    state: State = context.obj
    zoo = state.session.require_zoo()
    if require_signature and key is None:
        raise UsageError("a signature is checked with a key", hint="Add --key PUBLIC.pem.")
    if reference:
        verify_folder(zoo.find(reference).folder)
    else:
        found = broken(zoo)
        if found:
            lines = "\n".join(f"  {folder}: {error.what}" for folder, error in found)
            raise IntegrityError(f"{len(found)} modules are broken", where=lines)
    if key is not None:
        from xstilts.zoo.signing import verify_signature

        for entry in [zoo.find(reference)] if reference else zoo.entries():
            verify_signature(entry.folder, key)
    state.emit({"broken": []}, lambda: print("every module is whole"))


@app.command("page")
def page(
    context: typer.Context,
    to: Annotated[Path, typer.Option(help="Folder that index.html is written into.")],
    title: Annotated[str, typer.Option(help="Of the page.")] = "Module library",
    key: Annotated[
        Path | None, typer.Option(help="Public key (PEM) to check signatures with.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Those of studies, too.")] = False,
) -> None:
    """Write the library as one page for any web server: search, lineage, snippets, signatures.

    Modules that studies made are left out, as in `xstilts zoo ls`.

    Example: xstilts zoo page --to public
    """
    from xstilts.config.paths import require_writable
    from xstilts.zoo.page import write_page

    state: State = context.obj
    state.refuse_dry_run("zoo page")
    require_writable(to, "--to")
    zoo = state.session.require_zoo()
    path, modules = write_page(zoo, to, title=title, key=key, studies=every)
    record = {"page": str(path), "modules": len(modules)}
    state.emit(record, lambda: print(f"{path}  {len(modules)} modules"))
    apart = len(zoo.studies())
    if apart and not every:
        state.note(f"{apart} module{'s' if apart > 1 else ''} of studies left out: --all shows all")
