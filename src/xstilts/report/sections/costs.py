"""Cost against quality, data-size curves, realised shares of mixtures."""

from __future__ import annotations

from xstilts.report import figures
from xstilts.report.facts import Facts
from xstilts.report.material import Material
from xstilts.report.model import Figure, Item, Section, Table, Value, difference, number


def cost_section(material: Material) -> Section:
    """Trained parameters, hours and disk beside the mean over tasks."""
    rows: list[tuple[Item, ...]] = []
    points: dict[str, tuple[float, float]] = {}
    for label in material.labels:
        facts = material.facts.get(label)
        mean = material.mean_of(label, material.averaged)
        base = material.mean_of(material.baseline_of(label), material.averaged)
        gain = None if mean is None or base is None or label not in material.others else mean - base
        rows.append((label, *_costs(facts), _minutes(material, label), number(mean), _gain(gain)))
        if facts and facts.parameters and mean is not None:
            points[label] = (facts.parameters, mean)
    columns = (
        "expression", "trained parameters", "training hours", "disk, MB", "evaluation minutes",
        "mean over tasks", f"Δ {material.baseline}",
    )  # fmt: skip
    pictures: tuple[Figure, ...] = ()
    if len(points) > 1:
        across = "trained parameters, all phases"
        pictures = (figures.scatter("cost", "Cost against quality", points, across, "mean score"),)
    return Section(
        "cost",
        "Cost against quality",
        "Over all phases behind an expression: what was trained, how long by the times in the "
        "runs' histories (wall time of the machine that trained, pauses left out), and what it "
        "takes on disk. Evaluation is wall time too. A dash: the module or its history is gone.",
        (Table("Costs", columns, tuple(rows), scope=material.scope, scoped=("Δ",)),),
        pictures,
        absent="" if material.facts else "No module behind these scores is in the library.",
    )


def _costs(facts: Facts | None) -> tuple[Item, Item, Item]:
    if facts is None:
        return number(None), number(None), number(None)
    parameters = Value(f"{facts.parameters:,}", facts.parameters, note=", ".join(facts.modules))
    return parameters, number(facts.hours, 2), number(facts.megabytes)


def _minutes(material: Material, label: str) -> Value:
    seconds = sum(c.seconds for c in material.newest if c.scores[0].intermediate == label)
    return number(seconds / 60)


def _gain(value: float | None) -> Item:
    return "" if value is None else difference(value)


def size_section(material: Material) -> Section:
    """Score over the rows of the intermediate task, where it was trained on several amounts."""
    groups: dict[tuple[str, str], dict[int, list[str]]] = {}
    for label, facts in material.facts.items():
        if facts.rows and label in material.labels:
            amounts = groups.setdefault((facts.task, facts.method), {})
            amounts.setdefault(facts.rows, []).append(label)
    curves = {key: amounts for key, amounts in groups.items() if len(amounts) > 1}
    names = [f"{task}/{method}" for task, method in curves]
    rows: list[tuple[Item, ...]] = []
    pictures = []
    for column in material.averaged:
        series: dict[str, list[tuple[float, float]]] = {}
        for (task, method), amounts in curves.items():
            for size, labels in sorted(amounts.items()):
                values = [material.mean(label, column.units) for label in labels]
                known = [value for value in values if value is not None]
                if known:
                    mean = sum(known) / len(known)
                    rows.append(
                        (column.name, f"{task}/{method}", Value(f"{size:,}", size), number(mean))
                    )
                    series.setdefault(f"{task}/{method}", []).append((size, mean))
        if series:
            name = figures.named("size", column.name)
            title = f"{column.name} over training rows"
            pictures.append(
                figures.lines(
                    name,
                    title,
                    series,
                    "training rows",
                    column.metric,
                    names=names,
                    task=column.name,
                    log=True,
                )
            )
    columns = ("target", "intermediate", "training rows", "score")
    return Section(
        "size",
        "Data-size curves",
        "Rows are those of the first module in the chain; modules of one task and method that "
        "were trained on different amounts make a curve.",
        (Table("Scores by training rows", columns, tuple(rows), names=2),),
        tuple(pictures),
        legend=tuple(names[: figures.MOST]) if pictures else (),
        absent="" if rows else "No intermediate task was trained on two amounts of data.",
    )


def share_section(material: Material) -> Section:
    """Realised shares of the parts of mixtures."""
    shares = {
        module: parts for facts in material.facts.values() for module, parts in facts.shares.items()
    }
    rows = tuple(
        (
            module,
            part,
            number(None if stated is None else 100 * stated),
            number(100 * realised),
        )
        for module, parts in shares.items()
        for part, (stated, realised) in parts.items()
    )
    columns = ("module", "part", "stated, % of steps", "realised, % of steps")
    return Section(
        "shares",
        "Realised shares of mixtures",
        "Stated shares are shown where a mixture fixes them; others follow from sizes and caps.",
        (Table("Shares", columns, rows, names=2),),
        absent="" if rows else "No module behind these scores was trained on a mixture.",
    )
