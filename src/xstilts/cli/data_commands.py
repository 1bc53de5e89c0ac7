"""`xstilts data`: what is present where, made ready, checked, shown, packed and translated."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.options import LanguagesOption
from xstilts.cli.state import State, split_commas
from xstilts.cli.translate_commands import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xstilts.data.prepare import Presence

app = typer.Typer(no_args_is_help=True, help="Data of tasks.")
app.command("translate")(translate)

Tasks = Annotated[list[str] | None, typer.Argument(help="Tasks; all of them when empty.")]
SuiteOption = Annotated[
    str, typer.Option(help="The tasks and languages of a suite, such as xtreme-r.")
]
_COLUMNS = ("task", "split", "languages", "rows", "MB", "licence")


@app.command("ls")
def list_files(
    context: typer.Context,
    tasks: Tasks = None,
    count: Annotated[bool, typer.Option("--count", help="Read and count the rows.")] = False,
    checksums: Annotated[bool, typer.Option("--checksums", help="Compute sha256.")] = False,
    long: Annotated[bool, typer.Option("--long", help="A line for each language.")] = False,
    suite: SuiteOption = "",
) -> None:
    """List what data is there: splits, languages, sizes, licences; exit 3 if any is broken.

    Example: xstilts data ls xnli tatoeba --count
    """
    from xstilts.data.prepare import no_data
    from xstilts.errors import FindingsError

    state: State = context.obj
    session = state.session
    result = session.list_data(tasks or (), suite=suite, count=count, checksums=checksums)
    found = result.found
    broken = [item for item in found if item.broken]
    rows = _long_rows(found) if long else _short_rows(found)
    columns = (*_COLUMNS, "place") if long else _COLUMNS

    def human() -> None:
        state.table(columns, rows)
        if checksums:
            for item in found:
                for name, value in item.sha256.items():
                    print(f"{value}  {name}")
        for item in broken:
            print(f"{item.task} {item.split} {item.language}: broken: {item.broken}")
        for finding in session.missing_languages(tasks or (), suite):
            state.note(f"{finding.task}: {finding.message}")
        for spec in result.absent if tasks else ():
            state.note(str(no_data([spec], session.data, "list")))
        state.note(f"data folder: {' and '.join(map(str, session.data_folders))}")

    state.emit(result.records(), human)
    if broken:
        names = ", ".join(sorted({item.task for item in broken}))
        raise FindingsError(f"{len(broken)} of {len(found)} cannot be read, in {names}")


@app.command("prepare")
def prepare_task(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="A task.")],
    raw: Annotated[
        Path | None, typer.Option(help="Original files or archives to convert first.")
    ] = None,
    languages: LanguagesOption = "",
    splits: Annotated[str, typer.Option(help="Comma-separated; empty means all.")] = "",
    suite: SuiteOption = "",
) -> None:
    """Make a task ready: convert original files (--raw) or fetch what a hub has, and read it all.

    Example: xstilts data prepare panx --raw downloads/panx --data data
    """
    state: State = context.obj
    state.refuse_dry_run("data prepare")
    result = state.session.prepare_data(
        task, raw=raw, langs=split_commas(languages), splits=split_commas(splits), suite=suite
    )

    def human() -> None:
        for item in result.converted:
            files = len(item.rows) + len(item.label_rows)
            print(f"converted {files} files into {item.folder}, labels into {item.labels}")
        state.table(_COLUMNS, _short_rows(result.found))
        for finding in result.lacking:
            state.note(f"{finding.task}: {finding.message}; looked for {finding.where}")

    converted = [asdict(item) for item in result.converted]
    lacking = [asdict(finding) for finding in result.lacking]
    state.emit({"converted": converted, "ready": result.records(), "lacking": lacking}, human)


@app.command("check")
def check_tasks(context: typer.Context, tasks: Tasks = None, suite: SuiteOption = "") -> None:
    """Look for placeholder labels, wrong languages, repeats, overlap, wrong counts; exit 3 if any.

    Every task is checked, also when another one has no data (exit 4) or is broken. With --suite a
    language that it names and that has no data is a finding, too.

    Example: xstilts data check xnli panx --data data

    Example: xstilts data check --suite xtreme-r --data data
    """
    from xstilts.data.prepare import no_data
    from xstilts.errors import FindingsError

    state: State = context.obj
    result = state.session.check_data(tasks or (), suite=suite)

    def human() -> None:
        for f in result.findings:
            place = f" ({f.where})" if f.where else ""
            print(f"{f.task} {f.split} {f.language}: {f.kind}: {f.message}{place}")
        if not result.findings:
            print(f"{len(result.checked)} tasks checked, nothing found")

    state.emit({"tasks": len(result.checked), "findings": result.records()}, human)
    if result.absent:
        raise no_data(result.absent, state.session.data, "check")
    if result.wrong:
        names = sorted({finding.task for finding in result.wrong})
        raise FindingsError(f"{len(result.wrong)} findings in {', '.join(names)}")


@app.command("show")
def show_rows(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="A task.")],
    split: Annotated[str, typer.Option(help="Empty means the task's own.")] = "",
    language: Annotated[str, typer.Option("--langs", help="Empty means the first.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Rows to show.")] = 3,
) -> None:
    """Show where a split comes from, its first rows, and sources that are not used and why.

    Example: xstilts data show xnli --split validation --langs sw
    """
    from xstilts.data.prepare import show
    from xstilts.data.results import DataResult
    from xstilts.data.sources import available_languages

    state: State = context.obj
    (spec,) = state.session.data_tasks([task])
    chosen = split or spec.eval_split
    there = available_languages(spec, chosen, state.session.data)
    code = language or (there[0] if there else spec.languages[0])
    shown = show(spec, chosen, code, state.session.data, limit=limit)
    record = {
        **DataResult((shown.presence,)).records()[0],
        "examples": [
            {"id": e.id, "place": e.place, "fields": dict(e.fields), "target": _plain(e.target)}
            for e in shown.examples
        ],
        "refused": shown.refused,
    }
    state.emit(record, lambda: print(_yaml(record), end=""))


@app.command("bundle")
def bundle_files(
    context: typer.Context,
    tasks: Annotated[list[str], typer.Argument(help="Tasks.")],
    out: Annotated[Path, typer.Option(help="The archive to write.")] = Path("xstilts-data.tar"),
) -> None:
    """Pack the files of some tasks for a machine without a network.

    Example: xstilts data bundle xnli tatoeba --out xnli.tar
    """
    state: State = context.obj
    state.refuse_dry_run("data bundle")
    packed = state.session.bundle_data(tasks, out)

    def human() -> None:
        print(f"{packed.path}: {packed.files} files, {packed.num_bytes / 1e6:.1f} MB")
        for name, license_ in packed.licenses.items():
            print(f"  {name}: {license_}")

    state.emit({**asdict(packed), "path": str(packed.path)}, human)


# ------------------------------------------------------------------------------------------ parts


def _long_rows(found: Sequence[Presence]) -> list[tuple[object, ...]]:
    return [
        (
            item.task,
            item.split,
            item.language,
            "" if item.rows is None else item.rows,
            item.num_bytes / 1e6,
            item.license,
            item.place,
        )
        for item in found
    ]


def _short_rows(found: Sequence[Presence]) -> list[tuple[object, ...]]:
    """One row a task and split, its languages together; a file is counted once."""
    rows: list[tuple[object, ...]] = []
    for task, split in dict.fromkeys((item.task, item.split) for item in found):
        items = [item for item in found if (item.task, item.split) == (task, split)]
        sizes = {path: path.stat().st_size for item in items for path in item.files}
        counts = [item.rows for item in items if item.rows is not None]
        codes = " ".join(item.language for item in items)
        rows.append(
            (
                task,
                split,
                codes if len(items) < 9 else f"{len(items)}: {codes}",
                sum(counts) if counts else "",
                sum(sizes.values()) / 1e6,
                items[0].license,
            )
        )
    return rows


def _plain(target: Any) -> Any:
    if isinstance(target, tuple):
        return [_plain(item) for item in target]
    return asdict(target) if hasattr(target, "__dataclass_fields__") else target


def _yaml(value: dict[str, Any]) -> str:
    import json

    import yaml

    plain = json.loads(json.dumps(value, default=str))
    return yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=100)
