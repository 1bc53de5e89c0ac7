"""`xstilts zoo ls|search`: which modules there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xstilts.cli.state import State

if TYPE_CHECKING:
    from xstilts.zoo import Entry, Manifest

Means = Mapping[str, Mapping[str, float]]
"""A module's digest to its mean over languages for each task that it was evaluated on."""


def list_modules(
    context: typer.Context,
    task: Annotated[str, typer.Option(help="Modules of one task only.")] = "",
    method: Annotated[str, typer.Option(help="Modules of one method or preset only.")] = "",
    backbone: Annotated[
        str, typer.Option(help="Of one backbone: its name, repository or fingerprint.")
    ] = "",
    language: Annotated[
        str, typer.Option("--langs", help="Trained in or made for this language.")
    ] = "",
    kind: Annotated[str, typer.Option(help="Such as adapter, lora, composition, merge.")] = "",
    min_dev: Annotated[
        float | None, typer.Option(help="With a dev score of at least this.")
    ] = None,
    min_score: Annotated[
        list[str] | None,
        typer.Option(help="TASK=VALUE: evaluated, mean over languages of at least this."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Those of studies, too.")] = False,
    study: Annotated[str, typer.Option(help="Those of one study.")] = "",
) -> None:
    """List the modules of the library; those that studies made are counted, or listed where asked.

    Example: xstilts zoo ls --task mnli --method lora --min-score xnli=60

    Example: xstilts zoo ls --study x-stilts-core
    """
    from xstilts.errors import NotFoundError

    state: State = context.obj
    zoo = state.session.require_zoo()
    wanted = {
        "task": task,
        "method": method,
        "backbone": backbone,
        "language": language,
        "kind": kind,
    }
    least = _least(min_score or [])
    apart = zoo.studies()
    if study and study not in apart.values():
        raise NotFoundError.named("study with modules", study, set(apart.values()))
    found = zoo.entries(**wanted, min_score=min_dev)
    entries = [e for e in found if every or apart.get(e.manifest.digest, "") == study]
    hidden = len(found) - len(entries)
    means = _means(state, entries) if least else {}
    entries = [
        entry
        for entry in entries
        if all(means[entry.manifest.digest].get(t, -1.0) >= value for t, value in least.items())
    ]
    if not found:
        _say_near(state, zoo.entries(), wanted)
    _print(state, entries, means)
    if hidden and not study:
        state.note(
            f"{hidden} module{'s' if hidden > 1 else ''} of studies not shown: --all, or --study "
            + " or ".join(sorted(set(apart.values())))
            + "; `xstilts zoo tag` takes one into the library"
        )


def search(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(help="All of them must be found.")],
) -> None:
    """Find modules by words of their name, task, method, backbone, languages, labels or tags.

    Example: xstilts zoo search nli lora
    """
    from xstilts.zoo.maintenance import search as find

    state: State = context.obj
    _print(state, find(state.session.require_zoo(), " ".join(words)), {})


def _least(texts: Sequence[str]) -> dict[str, float]:
    """`TASK=VALUE` as a mapping."""
    from xstilts.errors import UsageError

    least = {}
    for text in texts:
        task, _, value = text.partition("=")
        try:
            least[task] = float(value)
        except ValueError:
            raise UsageError(
                f"--min-score {text!r} is no TASK=VALUE", hint="Such as --min-score xnli=60."
            ) from None
    return least


def _means(state: State, entries: Sequence[Entry]) -> Means:
    """From the result store, and from the rows that came with a module."""
    from xstilts.files import digest
    from xstilts.zoo.card import read_scores

    values: dict[str, dict[tuple[str, str], float]] = {}
    by_expression = {digest(f"@{e.manifest.digest}"): e.manifest.digest for e in entries}
    for entry in entries:
        rows = read_scores(entry.folder)
        own = {(r["task"], r["language"]): r["value"] for r in rows}
        values[entry.manifest.digest] = own
    for row in state.session.results.scores():
        if row.main and not row.group and row.digest in by_expression:
            values[by_expression[row.digest]][row.task, row.language] = row.value
    return {module: _by_task(scores) for module, scores in values.items()}


def _by_task(scores: Mapping[tuple[str, str], float]) -> dict[str, float]:
    tasks: dict[str, list[float]] = {}
    for (task, _), value in scores.items():
        tasks.setdefault(task, []).append(value)
    return {task: sum(found) / len(found) for task, found in sorted(tasks.items())}


def _say_near(state: State, entries: Sequence[Entry], wanted: Mapping[str, str]) -> None:
    """Where a filter fits no module at all: what was probably meant."""
    from xstilts.errors import near_names

    known: dict[str, set[str]] = {name: set() for name in wanted}
    for m in (entry.manifest for entry in entries):
        known["task"].add(m.task)
        known["method"].update((m.preset, m.method))
        known["backbone"].update((m.backbone.name, m.backbone.repo))
        known["language"].update((*m.languages, *m.source_language.split(",")))
        known["kind"].add(m.kind)
    for name, value in wanted.items():
        there = known[name] - {""}
        if value and value not in there and there:
            state.note(f"no module of {name} '{value}'. {near_names(value, there)}")


COLUMNS = ("reference", "kind", "task", "seed", "dev", "steps", "rate", "made", "parameters")


def _record(reference: str, manifest: Manifest) -> dict[str, Any]:
    """What the list says of a module, by column; what a module without a training lacks is None."""
    training = manifest.training
    settings = training.get("settings")
    values = (
        *(reference, manifest.kind, manifest.task, manifest.seed),
        *(training.get("dev_score"), training.get("steps")),
        *(settings.get("lr") if isinstance(settings, dict) else None, manifest.created),
        manifest.trainable_parameters,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _shown(column: str, value: Any) -> object:
    if value is None:
        return ""
    texts = {"rate": "{:g}", "made": "{:.16}", "parameters": "{:,}", "steps": "{:,}"}
    return texts[column].format(value).replace("T", " ") if column in texts else value


def _print(state: State, entries: Sequence[Entry], means: Means) -> None:
    records = [_record(entry.reference, entry.manifest) for entry in entries]
    columns: tuple[str, ...] = COLUMNS
    rows: list[tuple[object, ...]] = [tuple(map(_shown, COLUMNS, r.values())) for r in records]
    if means:
        columns = (*columns, "scores")
        found = [means[entry.manifest.digest] for entry in entries]
        records = [{**r, "scores": scores} for r, scores in zip(records, found, strict=True)]
        texts = [", ".join(f"{t} {v:.1f}" for t, v in scores.items()) for scores in found]
        rows = [(*row, text) for row, text in zip(rows, texts, strict=True)]
    state.emit(records, lambda: state.table(columns, rows))
