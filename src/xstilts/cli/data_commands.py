"""`xstilts data`: what is there, and what can be made of it."""

from __future__ import annotations

import typer

from xstilts.cli.translate_commands import translate

app = typer.Typer(help="Data of tasks.", no_args_is_help=True)
app.command("translate")(translate)
