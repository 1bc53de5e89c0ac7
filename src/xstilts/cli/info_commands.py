"""`xstilts tasks`, `xstilts config`, `xstilts doctor`: what there is and what is in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.config.specs import TaskSpec
    from xstilts.session import Session

tasks_app = typer.Typer(no_args_is_help=True, help="The tasks that can be trained and evaluated.")
config_app = typer.Typer(no_args_is_help=True, help="Settings, and where each comes from.")


@tasks_app.command("ls")
def list_tasks(
    context: typer.Context,
    role: Annotated[str, typer.Option(help="`intermediate` or `target` only.")] = "",
    format_: Annotated[str, typer.Option("--format", help="Tasks of one format only.")] = "",
) -> None:
    """List the tasks.

    Example: xstilts tasks ls --role target
    """
    from xstilts.config.load import load_task, spec_names

    state: State = context.obj
    specs = [load_task(name) for name in spec_names("tasks")]
    kept = [
        spec
        for spec in specs
        if (not role or role in spec.roles) and (not format_ or spec.format == format_)
    ]
    columns = ("task", "format", "role", "languages", "metric", "trained on", "title")
    rows = [
        (s.name, s.format, "+".join(s.roles), len(s.languages), s.metric, s.train_task, s.title)
        for s in kept
    ]
    state.emit([spec.model_dump() for spec in kept], lambda: state.table(columns, rows))


@tasks_app.command("show")
def show_task(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="Name, or path of a task YAML.")],
) -> None:
    """Show one task: languages, labels, sources, defaults, known traps.

    Example: xstilts tasks show xnli
    """
    from xstilts.config.load import load_task
    from xstilts.errors import NotFoundError

    state: State = context.obj
    spec = load_task(task)
    record = {**spec.model_dump(), "options": _options_in_force(spec)}

    def human() -> None:
        print(_yaml(_stated(record)), end="")
        try:
            lines = [] if state.session.world else _found(state.session, spec)
        except NotFoundError as error:  # the task is shown all the same
            lines = [error.what]
        for line in lines:
            state.note(line)

    state.emit(record, human)


def _stated(value: Any) -> Any:
    """Without what a YAML leaves empty."""
    if isinstance(value, dict):
        return {key: _stated(item) for key, item in value.items() if item not in ("", [], {}, None)}
    return [_stated(item) for item in value] if isinstance(value, list) else value


def _found(session: Session, spec: TaskSpec) -> list[str]:
    """Which splits are below the data folder, in which languages, or where they were looked for."""
    from xstilts.data.located import available_languages, row_key, split_names, tried

    root = session.data
    if root is None:
        return ["no data folder: --data DIR, or XSTILTS_DATA"]
    lines = [f"data folder: {' and '.join(map(str, session.data_folders))}"]
    for split in split_names(spec):
        codes = available_languages(spec, split, root)
        place = next(iter(tried(spec, row_key(spec, split), spec.languages[0], root)), "nothing")
        there = f"there in {' '.join(codes)}" if codes else f"not there; looked for {place}"
        lines.append(f"{split}: {there}")
    return lines


@config_app.command("show")
def show_config(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="The task to be trained.")] = "mnli",
    method: Annotated[str, typer.Option(help="Method preset.")] = "",
    config: Annotated[Path | None, typer.Option(help="A YAML with settings.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as train.lr=3e-4.")
    ] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Where each value comes from.")] = False,
) -> None:
    """Show the settings a training run would use.

    Precedence: flag, then --set, --config, the project's and the user's xstilts.toml, the method
    preset, the task, the default.

    Example: xstilts config show mnli --method lora --set train.lr=3e-4 --origin
    """
    from xstilts.config.run import resolve_run

    state: State = context.obj
    flags = {"method": method} if method else {}
    world = state.session.training_defaults
    default, where = state.session.backbone_default
    resolved = resolve_run(task, flags, overrides or [], config, default, world, where)
    columns = ("setting", "value", "origin") if origin else ("setting", "value")
    rows = []
    for key, set_by in resolved.origins.items():
        value = _at(resolved.value.model_dump(), key)
        rows.append((key, str(value), set_by) if origin else (key, str(value)))
    record = {"settings": resolved.value.model_dump(), "origins": dict(resolved.origins)}
    state.emit(record, lambda: state.table(columns, rows))


@config_app.command("schema")
def config_schema(context: typer.Context) -> None:
    """Print the JSON Schema of a settings file.

    Example: xstilts config schema > settings.schema.json
    """
    from xstilts.config.run import RunSpec

    state: State = context.obj
    schema = RunSpec.model_json_schema()
    state.emit(schema, lambda: state.console.print_json(data=schema))


def doctor(
    context: typer.Context,
    hub: Annotated[bool, typer.Option("--hub", help="Ask the hub too.")] = False,
    plugins: Annotated[
        bool, typer.Option("--plugins", help="List every implementation, and check others'.")
    ] = False,
) -> None:
    """Show versions, devices, folders, offline state and, with --hub, who the hub says you are.

    With --plugins, show instead every method, operator, format, metric, reader, hub, engine and
    export with the package that it comes from; those of other packages are checked against their
    contracts, and the exit code is 3 when one breaks its.

    Example: xstilts doctor --plugins
    """
    if plugins:
        _show_plugins(context.obj)
        return
    from xstilts.cli.doctor import diagnose

    state: State = context.obj
    session = state.session
    state.note("looking at packages, devices and folders")
    report = diagnose(
        session.zoo_folder,
        session.results_folder,
        session.data,
        offline=session.offline,
        ask_hub=hub,
    )
    rows = [(item.name, item.shown, item.advice) for item in report]
    record = {item.name: {"value": item.value, "advice": item.advice} for item in report}
    state.emit(record, lambda: state.table(("what", "value", "advice"), rows))


def _show_plugins(state: State) -> None:
    from xstilts.cli.plugins import implementations
    from xstilts.errors import FindingsError

    found = list(implementations())
    rows = [(i.kind, i.name, i.package, "; ".join(i.problems)) for i in found]
    records = [
        {"kind": i.kind, "name": i.name, "package": i.package, "problems": list(i.problems)}
        for i in found
    ]
    state.emit(records, lambda: state.table(("kind", "name", "package", "problems"), rows))
    broken = sum(1 for i in found if i.problems)
    if broken:
        raise FindingsError(
            f"{broken} of {len(found)} implementations break their contract",
            hint="docs/guides/extending.md states the contracts; update or uninstall the package.",
        )


def _options_in_force(spec: TaskSpec) -> dict[str, Any]:
    """The task's options with the defaults of its format."""
    from xstilts.config.layers import Layer, resolve
    from xstilts.tasks.formats import FORMATS

    known = FORMATS.get(spec.format).Options
    where = f"task {spec.name}, options"
    options: dict[str, Any] = resolve(known, [Layer(where, spec.options)]).value.model_dump()
    return options


def _yaml(value: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=100)


def _at(value: Any, key: str) -> Any:
    for part in key.split("."):
        value = value[part]
    return value
