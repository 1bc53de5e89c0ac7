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
    backbone: Annotated[
        str, typer.Option(help="What this one has seen; a preset, folder or org/name.")
    ] = "",
) -> None:
    """Show codes, script, family and resources of the languages, and what a backbone has seen.

    Empty cells are unknown.

    Example: xstilts languages --task xnli --by script
    """
    from xstilts.config.load import pretraining_of
    from xstilts.data.languages import group_by, language

    state: State = context.obj
    codes = _codes(state, task)
    corpus = pretraining_of([backbone or state.session.backbone_reference])
    if by:
        groups = group_by(codes, by, corpus)
        rows = [(name, len(members), " ".join(members)) for name, members in groups.items()]
        record: Any = {name: list(members) for name, members in groups.items()}
        columns = (by, "languages", "codes")
        state.emit(record, lambda: state.table(columns, rows))
        return
    known = [language(code) for code in codes]
    head = ("code", "iso3", "name", "script", "family", "genus", "tier", "seen", "CC-100 GiB")
    state.emit(
        [_record(item, corpus) for item in known],
        lambda: state.table(head, [_row(item, corpus) for item in known]),
    )


def _codes(state: State, task: str) -> list[str]:
    from xstilts.config.load import load_task
    from xstilts.data.languages import languages as every
    from xstilts.data.sources import task_in_world

    if task:
        return list(task_in_world(load_task(task), state.session.data).every_language)
    return [code for code, item in every().items() if item.artificial == bool(state.session.world)]


def _record(item: Language, corpus: str) -> dict[str, Any]:
    from dataclasses import asdict

    from xstilts.data.languages import seen_in

    return {**asdict(item), "tier": item.tier, "seen": seen_in(item, corpus)}


def _row(item: Language, corpus: str) -> tuple[object, ...]:
    from xstilts.data.languages import seen_in

    amount = "" if item.cc100_gib is None else item.cc100_gib
    seen = {True: "yes", False: "no", None: ""}[seen_in(item, corpus)]
    names = item.code, item.iso3, item.name, item.script_name, item.family, item.genus
    return *names, item.tier, seen, amount
