"""Main table, tested differences, heat map, tables by language."""

from __future__ import annotations

from xstilts.evaluate.stats import shown_p, standard_deviation
from xstilts.report import figures
from xstilts.report.material import Column, Material, described
from xstilts.report.model import (
    Item,
    Section,
    Table,
    Value,
    difference,
    interval_text,
    number,
    signed,
    tested,
)

NO_BASELINE = "No expression stands beside '{}', which differences are taken to."


def main_section(material: Material) -> Section:
    """Expression by task with the difference to the baseline; means with and without retrieval."""
    pairs, of = dict[str, str](), dict[str, str]()
    for column in material.columns:
        title = f"{column.name} ({len(column.units)})"
        pairs[title] = f"Δ {column.name}"
        of |= dict.fromkeys((title, pairs[title]), column.name)
    pairs |= {name: f"Δ {name}" for name in material.means}
    columns = ("expression", *(name for pair in pairs.items() for name in pair))
    rows = tuple(_main_row(material, label) for label in material.labels)
    some = material.means and len(material.averaged) < len(material.columns)
    counted = ", ".join(column.name for column in material.averaged)
    table = Table(
        "Scores",
        columns,
        rows,
        scope=material.scope,
        scoped=("Δ",),
        data=material.data,
        across="task",
        of=of,
        pairs=pairs,
    )
    tested = (
        ", with its 95 % interval; bold where a difference was detected after Holm's correction "
        "over all differences of this table, and three seeds were trained"
        if material.draws
        else ""
    )
    return Section(
        "main",
        "Main table",
        "Mean over the languages that every expression has (their number in brackets) of the mean "
        f"over seeds. Δ is the difference to {material.baseline}{tested}."
        f"{f' The mean is that of {counted}.' if some else ''}",
        (table,),
        absent="" if rows else "The result store has no scores of a task's main metric.",
    )


def _main_row(material: Material, label: str) -> tuple[Item, ...]:
    cells: list[Item] = [label]
    for column in material.columns:
        value = material.mean(label, column.units)
        cells.append(_noted(value, f"{column.metric}, {' '.join(column.languages)}"))
        cells.append(_delta(material, label, column.name, material.gain(label, column.units)))
    for name, averaged in material.means.items():
        mean = material.mean_of(label, averaged)
        base = material.mean_of(material.baseline_of(label), averaged)
        gain = None if mean is None or base is None else mean - base
        cells.append(_noted(mean, ", ".join(column.name for column in averaged)))
        cells.append(_delta(material, label, name, gain))
    return tuple(cells)


def _noted(value: float | None, note: str) -> Value:
    shown = number(value)
    return Value(shown.text, shown.order, note=note)


def _delta(material: Material, label: str, name: str, gain: float | None) -> Item:
    if label not in material.others:
        return ""
    verdict = material.verdicts.get((label, name))
    return tested(verdict) if verdict else difference(gain)


def verdict_section(material: Material) -> Section:
    """Every difference of the main table with interval, p-values and effect size."""
    rows: list[tuple[Item, ...]] = []
    for (label, name), verdict in material.verdicts.items():
        sign = f"{verdict.wins} – {verdict.losses}"
        rows.append(
            (
                label,
                name,
                Value(signed(verdict.effect), verdict.effect),
                interval_text(verdict),
                verdict.claim,
                _p(verdict.p),
                _p(verdict.p_holm),
                verdict.test,
                number(verdict.size, 2),
                number(verdict.sd),
                f"{verdict.seeds[0]} / {verdict.seeds[1]}",
                verdict.n,
                sign,
                _p(verdict.sign_p),
                "; ".join(verdict.notes),
            )
        )
    columns = (
        "expression", "task", "Δ", "95 % interval", "verdict", "p", "p, Holm", "test",
        "Cohen's h", "sd over seeds", "seeds", "examples", "higher – lower", "sign test p", "notes",
    )  # fmt: skip
    return Section(
        "tested",
        f"Differences to {material.baseline}, tested",
        f"Paired bootstrap over examples and, from three seeds on, over seeds ({material.draws:,} "
        "draws); McNemar's test for one run on one language. Holm's correction is over this "
        "table. 'higher – lower' counts languages. The standard deviation is that of the "
        "difference over seeds, and is not given for fewer than three.",
        (
            Table(
                "Verdicts",
                columns,
                tuple(rows),
                names=2,
                scope=material.scope,
                scoped=("Δ", "95 % interval", "p"),
            ),
        ),
        absent="" if rows else _no_verdicts(material),
        closed=len(rows) > 40,
    )


def _no_verdicts(material: Material) -> str:
    if not material.draws:
        return "Comparisons were switched off."
    return NO_BASELINE.format(material.baseline)


def _p(value: float | None) -> Value:
    return number(None) if value is None else Value(shown_p(value), value)


def heat_section(material: Material) -> Section:
    """Intermediate by target: differences of means."""
    rows: tuple[tuple[Item, ...], ...] = tuple(
        (label, *(difference(material.gain(label, c.units)) for c in material.columns))
        for label in material.others
    )
    columns = ("expression", *(column.name for column in material.columns))
    table = Table(
        f"Difference to {material.baseline}",
        columns,
        rows,
        scope=material.scope,
        scoped=columns[1:],
        data=material.data,
        across="task",
        of={name: name for name in columns[1:]},
    )
    return Section(
        "heat",
        "Intermediate by target",
        "Points of the mean over languages. Blue is a gain, orange a loss; full colour at 20 "
        "points.",
        (table,),
        (figures.heat_map(table),) if rows and material.columns else (),
        absent="" if rows else NO_BASELINE.format(material.baseline),
    )


def language_section(material: Material) -> Section:
    """One table a task: language by expression."""
    tables = tuple(_language_table(material, column) for column in material.columns)
    several = [column for column in material.columns if len(column.every) > 1]
    pictures = tuple(figures.by_language(material, column) for column in several)
    left = len(material.labels) - figures.MOST
    cut = f" Pictures have the first {figures.MOST} expressions." if left > 0 and pictures else ""
    return Section(
        "languages",
        "By language",
        "Means over seeds; from three seeds on with their standard deviation. Click a heading to "
        f"sort.{cut}",
        tables,
        pictures,
        legend=material.labels[: figures.MOST] if pictures else (),
        absent="" if tables else "The result store has no scores of a task's main metric.",
    )


def _language_table(material: Material, column: Column) -> Table:
    columns = ("code", "language", "script", "family", "tier", *material.labels)
    rows = tuple(
        (
            unit.language,
            *described(unit.language).values(),
            *(_score(material, label, column, number_) for label in material.labels),
        )
        for number_, unit in enumerate(column.every)
    )
    title = f"{column.name}: {column.metric}"
    return Table(
        title,
        columns,
        rows,
        names=5,
        task=column.name,
        data=column.data,
        across="expression",
        of={label: label for label in material.labels},
    )


def _score(material: Material, label: str, column: Column, place: int) -> Item:
    rows = material.by_unit.get((label, column.every[place]), [])
    if not rows:
        return number(None)
    values = [row.value for row in rows]
    mean = sum(values) / len(values)
    spread = standard_deviation(values)
    cells = ", ".join(row.cell[:12] for row in rows)
    shown = number(mean)
    return Value(
        shown.text,
        shown.order,
        subtext="" if spread is None else f"± {spread:.1f}",
        note=f"{len(rows)} runs of {rows[0].n} examples; cells {cells}",
    )
