"""What a shell completes for values: tasks, modules, methods, studies, languages, by parameter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import get_type_hints

import typer
from typer.models import ParameterInfo

from xstilts.errors import XstiltsError
from xstilts.session import PRECISIONS, Session

Completer = Callable[[typer.Context, str], list[str]]
_LAST = re.compile(r"(.*[(,+\s-])?(.*)", re.S)
"""What is written before the last name of a list or an expression, and that name."""


def attach(app: typer.Typer) -> None:
    """Give every parameter of a name that is known here the values it can have."""
    for callback in _callbacks(app):
        kinds = get_type_hints(callback, include_extras=True)
        callback.__annotations__ = (
            kinds  # as texts they would be read anew, without what is set here
        )
        for name, kind in kinds.items():
            for info in getattr(kind, "__metadata__", ()):
                if isinstance(info, ParameterInfo) and name in COMPLETERS:
                    info.autocompletion = COMPLETERS[name]


def _callbacks(app: typer.Typer) -> Iterator[Callable[..., object]]:
    for command in app.registered_commands:
        if command.callback is not None:
            yield command.callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _callbacks(group.typer_instance)


def _last_of(values: Iterable[str], incomplete: str, *, several: bool) -> list[str]:
    match = _LAST.fullmatch(incomplete) if several else None
    before, last = match.groups("") if match else ("", incomplete)
    return [before + value for value in values if value.startswith(last)]


def _specs(folder: str, *, several: bool = False) -> Completer:
    """Names of the YAMLs of a folder of `configs`."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from xstilts.config.load import spec_names

        del context
        return _last_of(spec_names(folder), incomplete, several=several)

    return complete


def _modules(context: typer.Context, incomplete: str) -> list[str]:
    """Modules of the library as `name/preset`, also inside an expression, and its tags.

    Those of studies are left out; see `xstilts zoo ls`.
    """
    given = context.find_root().params
    names: dict[str, None] = {}
    with suppress(XstiltsError, OSError):
        zoo = Session(zoo=given.get("zoo"), world=given.get("world") or "").zoo
        for folder in zoo.own_folders():
            names[f"{folder.parents[1].name}/{folder.parent.name}"] = None
        names |= {f"{name}:{tag}": None for name, tag in zoo.tags()}
    return _last_of(["none", *names], incomplete, several=True)


def _languages(context: typer.Context, incomplete: str) -> list[str]:
    """Those of the command's task, or else of every task of XTREME."""
    from xstilts.config.load import load_suite, load_task

    task = context.params.get("task")
    codes: Iterable[str] = sorted(set().union(*load_suite("xtreme").tasks.values()))
    if isinstance(task, str) and task:
        with suppress(XstiltsError):
            codes = load_task(task).every_language
    return _last_of(codes, incomplete, several=True)


def _precisions(context: typer.Context, incomplete: str) -> list[str]:
    del context
    return _last_of(PRECISIONS, incomplete, several=False)


_TASKS = _specs("tasks", several=True)
COMPLETERS: dict[str, Completer] = {
    **dict.fromkeys(("task", "tasks", "target", "targets", "on_task"), _TASKS),
    **dict.fromkeys(("expression", "expressions", "reference", "references"), _modules),
    **dict.fromkeys(("left", "right", "head", "modules", "stack_on", "init_from"), _modules),
    **dict.fromkeys(("languages", "language", "source_langs"), _languages),
    **dict.fromkeys(("method", "top"), _specs("methods")),
    "backbone": _specs("backbones", several=True),
    "precision": _precisions,
    "recipe": _specs("recipes"),
    "study": _specs("studies"),
    "suite": _specs("suites"),
}
"""Name of a command's parameter to what completes it."""
