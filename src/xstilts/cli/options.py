"""Options and arguments that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

BackboneOption = Annotated[
    str, typer.Option("--backbone", help="Preset, folder or org/name@revision.")
]
LanguagesOption = Annotated[str, typer.Option("--langs", help="Comma-separated; empty means all.")]
ReferenceArgument = Annotated[str, typer.Argument(help="Such as `mnli/lora` or `@0a1b2c`.")]
