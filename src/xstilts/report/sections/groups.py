"""By script, family, resource tier and seen: gains, differences of differences, transfer gap."""

from __future__ import annotations

from xstilts.data.languages import UNKNOWN, group_by
from xstilts.errors import NotFoundError
from xstilts.evaluate.stats import UNTESTED, Contrast, Unit, planned_difference
from xstilts.evaluate.xtreme import transfer_gap
from xstilts.report.material import Column, Material, described
from xstilts.report.model import Item, Section, Table, Value, difference, number, tested

SHOWN = ("script", "family", "tier", "seen", "latin")
WORDS = {"latin": ("By Latin script or another", "Latin or not")}
"""Grouping to the title and the heading of its table, where they are not its name."""
CONTRASTS = (("latin", "non-Latin", "Latin"), ("seen", "unseen", "seen"))
"""Grouping, and the two groups whose gains are set against each other."""
WORST = 100
"""Losses that are listed."""
LOSS_DRAWS = 2000


def group_section(material: Material) -> Section:
    """Gains by group of languages, per task and over all tasks."""
    codes = {code for column in material.columns for code in column.languages}
    tables = []
    for key in SHOWN:
        groups = group_by(codes, key, material.pretraining)
        if len([name for name in groups if name != UNKNOWN]) > 1:
            tables.append(_group_table(material, key))
    contrasts = _contrast_table(material)
    return Section(
        "groups",
        "By script, family, resource tier, seen and unseen",
        f"Mean score of {material.baseline}, then the differences to it, over the languages of a "
        "group. Tiers are by the text in CC-100, which XLM-R was pretrained on: high from 10 GiB, "
        "middle from 1 GiB; what a backbone has seen is said where its preset names its corpus. A "
        "group of one or two languages is no finding about the group.",
        (*tables, *([contrasts] if contrasts else [])),
        absent="" if tables and material.labels else "All languages fall into one group.",
    )


def _group_table(material: Material, key: str) -> Table:
    rows: list[tuple[Item, ...]] = []
    if len(material.averaged) > 1:
        codes = {code for column in material.averaged for code in column.languages}
        rows += [
            _over_tasks(material, key, name, members)
            for name, members in group_by(sorted(codes), key, material.pretraining).items()
        ]
    for column in material.columns:
        for name, members in group_by(column.languages, key, material.pretraining).items():
            units = [unit for unit in column.units if unit.language in members]
            base = _mean_of_baselines(material, units)
            gains = [material.gain(label, units) for label in material.others]
            shown = (difference(gain, full=20) for gain in gains)
            rows.append((column.name, name, Value(str(len(units)), len(units)), base, *shown))
    title, head = WORDS.get(key, (f"By {key}", key))
    columns = ("task", head, "languages", material.baseline, *(f"Δ {n}" for n in material.others))
    return Table(
        title,
        columns,
        tuple(rows),
        names=2,
        scope=material.scope,
        scoped=("Δ",),
        across="expression",
        of={f"Δ {name}": name for name in material.others},
    )


def _mean_of_baselines(material: Material, units: list[Unit]) -> Value:
    return number(material.mean(material.baseline_of(material.labels[0]), units))


def _over_tasks(
    material: Material, key: str, name: str, members: tuple[str, ...]
) -> tuple[Item, ...]:
    """A row over all tasks: the mean over tasks that have languages of the group."""
    groups = _units(material.averaged, set(members))
    bases, gains = [], []
    for label in material.others:
        each = [material.gain(label, units) for units in groups]
        known = [gain for gain in each if gain is not None]
        gains.append(sum(known) / len(known) if known and len(known) == len(each) else None)
    if material.labels:
        base = material.baseline_of(material.labels[0])
        values = [material.mean(base, units) for units in groups]
        bases = [value for value in values if value is not None]
    mean = sum(bases) / len(bases) if bases and len(bases) == len(groups) else None
    note = f"{len(groups)} tasks: {' '.join(members)}"
    size = Value(str(len(members)), len(members), note=note)
    return ("all tasks", name, size, number(mean), *(difference(gain, note=key) for gain in gains))


def _units(columns: tuple[Column, ...], codes: set[str]) -> list[list[Unit]]:
    """The units of some languages, task by task, tasks without any left out."""
    each = [[unit for unit in column.units if unit.language in codes] for column in columns]
    return [units for units in each if units]


def _contrast_table(material: Material) -> Table | None:
    """Differences of differences; one family."""
    if not material.draws:
        return None
    contrasts: dict[tuple[str, str], Contrast] = {}
    for label in material.others:
        for key, first, second in CONTRASTS:
            columns = [c for c in material.averaged if _has(material, c, key, first, second)]
            ours, base = (material.runs[n] for n in (label, material.baseline_of(label)))
            both = ours.units & base.units
            sides = [
                [u for c in columns for u in _of_group(material, c, key, name) if u in both]
                for name in (first, second)
            ]
            every = [unit for side in sides for unit in side]
            if all(sides) and ours.on(every).table and base.on(every).table:
                contrasts[label, f"{first} − {second}"] = planned_difference(
                    ours, base, sides[0], sides[1]
                )
    if not contrasts:
        return None
    rows = tuple(
        (label, name, tested(verdict), verdict.claim, verdict.units, f"{verdict.seeds[0]}")
        for (label, name), verdict in material.tested(contrasts).items()
    )
    columns_ = ("expression", "groups", "difference of Δ", "verdict", "task and language", "seeds")
    note = "What an expression gains on the first group, minus what it gains on the second."
    return Table(
        "Differences of differences",
        columns_,
        rows,
        note=note,
        names=2,
        scope=material.scope,
        scoped=("difference",),
    )


def _has(material: Material, column: Column, key: str, *names: str) -> bool:
    groups = group_by(column.languages, key, material.pretraining)
    return all(name in groups for name in names)


def _of_group(material: Material, column: Column, key: str, name: str) -> list[Unit]:
    members = group_by(column.languages, key, material.pretraining).get(name, ())
    return [unit for unit in column.units if unit.language in members]


# -- transfer gap


def gap_section(material: Material) -> Section:
    """Score of the source language minus the mean of the others, per task."""
    rows: list[tuple[Item, ...]] = []
    for column in material.averaged:
        if column.retrieval:
            continue
        values = [_gap(material, label, column) for label in material.labels]
        if any(value is not None for value in values):
            rows.append((column.name, *(number(value) for value in values)))
    return Section(
        "gap",
        "Transfer gap",
        "Score of the language that the head was trained on minus the mean of the others; lower "
        "means more is carried over (XTREME, section 5).",
        (
            Table(
                "Gap in points",
                ("task", *material.labels),
                tuple(rows),
                across="expression",
                of={label: label for label in material.labels},
            ),
        ),
        absent="" if rows else "No task has scores in its training language and in others.",
    )


def _gap(material: Material, label: str, column: Column) -> float | None:
    values = {}
    source = ""
    for unit in column.units:
        rows = material.by_unit.get((label, unit), [])
        if rows:
            values[unit.language] = sum(row.value for row in rows) / len(rows)
            source = source or rows[0].source_language
    try:
        return transfer_gap(values, source)
    except NotFoundError:
        return None


# -- losses


def loss_section(material: Material) -> Section:
    """Where an expression is below its baseline, worst first."""
    losses = [
        (gain, label, column, unit)
        for label in material.others
        for column in material.averaged
        for unit in column.units
        if (gain := material.gain(label, [unit])) is not None and gain < 0
    ]
    losses.sort(key=lambda loss: loss[0])
    every = sum(len(column.units) for column in material.averaged) * len(material.others)
    shown = losses[:WORST]
    jobs = [((label, f"{column.name} {unit.language}"), [unit]) for _, label, column, unit in shown]
    verdicts = material.compared(jobs, draws=LOSS_DRAWS)
    rows = tuple(
        (
            label,
            column.name,
            unit.language,
            described(unit.language)["name"],
            tested(verdict) if verdict else difference(gain),
            verdict.claim if verdict else UNTESTED,
        )
        for gain, label, column, unit in shown
        for verdict in (verdicts.get((label, f"{column.name} {unit.language}")),)
    )
    more = f" The worst {WORST} are listed." if len(losses) > WORST else ""
    return Section(
        "losses",
        "Negative transfer",
        f"{len(losses)} of {every} scores by task and language lie below {material.baseline}."
        f"{more} They were picked for being low, so each looks worse than it is.",
        (
            Table(
                "Losses",
                ("expression", "task", "code", "language", "Δ", "verdict"),
                rows,
                names=4,
                scope=material.scope,
                scoped=("Δ",),
            ),
        ),
        absent="" if rows else _no_losses(material),
        closed=len(rows) > 25,
    )


def _no_losses(material: Material) -> str:
    if not material.others:
        return f"No expression stands beside '{material.baseline}'."
    return f"No score by task and language lies below {material.baseline}."
