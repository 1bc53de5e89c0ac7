"""`xstilts export`: trained modules for use without xstilts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xstilts.cli.options import BackboneOption
from xstilts.cli.state import State

KindArgument = Annotated[str, typer.Argument(help="merged, hf, adapters, peft or onnx.")]


def export(
    context: typer.Context,
    kind: KindArgument,
    expression: Annotated[str, typer.Argument(help="A module or an expression.")],
    to: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    language: Annotated[str, typer.Option("--langs", help="Fills {lang}.")] = "",
    backbone: BackboneOption = "",
) -> None:
    """Write a module in a form that runs without xstilts, checked by loading it again.

    hf: a transformers model of the task's class, LoRA folded in. merged: the same without the head,
    a backbone like any other. adapters, peft: folders of these libraries, head included. onnx: one
    graph, compared with onnxruntime.

    Example: xstilts export hf mnli/lora --to mnli-merged
    """
    state: State = context.obj
    session = state.session
    if state.dry_run:
        chosen = session.reference_for(expression, backbone)
        from xstilts.composition.export import require_exportable, source

        require_exportable(kind, expression, session.zoo, language)
        loaded = session.backbone(chosen)
        entries = source(expression, session.zoo, loaded, language).loaded.entries
        plan = {"kind": kind, "modules": [entry.reference for entry in entries]}
        state.emit(plan, lambda: print(f"would write {kind} of {expression} to {to}"))
        return
    result = session.export(kind, expression, to, language=language, backbone=backbone)
    made = result.made

    def human() -> None:
        checked = "" if made.difference is None else f"  differs by {made.difference:.1g}"
        print(f"{made.folder}: {len(made.files)} files{checked}")

    state.emit(result.records()[0], human)
