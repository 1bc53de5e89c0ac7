"""`xstilts export`: trained modules for use without xstilts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xstilts.cli.state import State

Kind = Annotated[str, typer.Argument(help="merged, hf, adapters, peft or onnx.")]


def export(
    context: typer.Context,
    kind: Kind,
    expression: Annotated[str, typer.Argument(help="A module or an expression.")],
    to: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    language: Annotated[str, typer.Option("--langs", help="Fills {lang}.")] = "",
    backbone: Annotated[str, typer.Option(help="Preset, folder or org/name@revision.")] = "",
) -> None:
    """Write a module in a form that runs without xstilts, checked by loading it again.

    hf: a transformers model of the task's class, LoRA folded in. merged: the same without the head,
    a backbone like any other. adapters, peft: folders of these libraries, head included. onnx: one
    graph, compared with onnxruntime.

    Example: xstilts export hf mnli/lora --to mnli-merged
    """
    from xstilts.composition.export import EXPORTS, source
    from xstilts.composition.export import export as write

    state: State = context.obj
    EXPORTS.get(kind)
    encoder = state.session.backbone_for(expression, backbone)
    zoo = state.session.zoo
    if state.dry_run:
        chosen = source(expression, zoo, encoder, language)
        plan = {"kind": kind, "modules": [e.reference for e in chosen.loaded.entries]}
        state.emit(plan, lambda: print(f"would write {kind} of {expression} to {to}"))
        return
    result = write(kind, expression, zoo, encoder, to, language)
    record: dict[str, object] = {
        "kind": kind,
        "folder": str(result.folder),
        "files": list(result.files),
        "difference": result.difference,
    }

    def human() -> None:
        checked = "" if result.difference is None else f"  differs by {result.difference:.1g}"
        print(f"{result.folder}: {len(result.files)} files{checked}")

    state.emit(record, human)
