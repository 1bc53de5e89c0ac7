"""`xstilts languages`: what is known of each language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.data.languages import Language


def languages(
    context: typer.Context,
    task: Annotated[str, typer.Option(help="Languages of this task only.")] = "",
    by: Annotated[
        str, typer.Option(help="Group: script, family, genus, tier, seen or latin.")
    ] = "",
) -> None:
    """Show codes, script, family and resources of the languages; empty cells are unknown.

    Example: xstilts languages --task xnli --by script
    """
    from xstilts.cli.output import table
    from xstilts.data.languages import group_by, language

    state: State = context.obj
    codes = _codes(state, task)
    if by:
        groups = group_by(codes, by)
        rows = [(name, len(members), " ".join(members)) for name, members in groups.items()]
        record: Any = {name: list(members) for name, members in groups.items()}
        columns = (by, "languages", "codes")
        state.emit(record, lambda: state.console.print(table(columns, rows)))
        return
    known = [language(code) for code in codes]
    head = ("code", "iso3", "name", "script", "family", "genus", "tier", "seen", "CC-100 GiB")
    state.emit(
        [_record(item) for item in known],
        lambda: state.console.print(table(head, [_row(item) for item in known])),
    )


def _codes(state: State, task: str) -> list[str]:
    from xstilts.config.load import load_task
    from xstilts.data.languages import languages as every
    from xstilts.data.sources import task_in_world

    if task:
        return list(task_in_world(load_task(task), state.session.data).every_language)
    return [code for code, item in every().items() if item.artificial == bool(state.session.world)]


def _record(item: Language) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(item), "tier": item.tier}


def _row(item: Language) -> tuple[object, ...]:
    amount = "" if item.cc100_gib is None else item.cc100_gib
    seen = "yes" if item.seen else "no"
    names = item.code, item.iso3, item.name, item.script_name, item.family, item.genus
    return *names, item.tier, seen, amount
