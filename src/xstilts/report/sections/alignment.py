"""Alignment of bitexts by block and over training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

from xstilts.evaluate.alignment.bitext import MEASURES
from xstilts.evaluate.alignment.snapshots import trained_label
from xstilts.evaluate.names import title_of
from xstilts.evaluate.store import Score
from xstilts.report import figures
from xstilts.report.alignment import alignment_rows, by_place, mean_measure, spread_over_seeds
from xstilts.report.material import Material
from xstilts.report.model import Figure, Item, Section, Table, number

SHOWN = "from_pivot"
"""The measure that pictures show: retrieval accuracy in XTREME's direction."""


def alignment_section(material: Material) -> Section:
    """Every measure by expression and block, for each bitext; accuracy over blocks and steps."""
    rows = alignment_rows(material.scores)
    tasks = list(dict.fromkeys(title_of(row) for row in rows))
    names = list(dict.fromkeys(trained_label(row.intermediate, row.step) for row in rows))
    tables, pictures = [], []
    for task in tasks:
        own = [row for row in rows if title_of(row) == task]
        ends = [row for row in own if row.step < 0]
        if ends:
            tables.append(_by_block(task, ends))
            pictures += _over_blocks(task, ends, names)
        pictures += _over_steps(task, own, names)
    return Section(
        "alignment",
        "Alignment by block and over training",
        "Means over languages of means over seeds, from three seeds on with their standard "
        "deviation. From the pivot (XTREME's direction) and to it: "
        "accuracy of the nearest neighbour; margin, CSLS and mrr go from the pivot. cka: linear "
        "CKA of both sides; hubness: skewness of how often a sentence is among the ten nearest; "
        "mean_cosine: of different sentences of the language; isotropy: least over greatest "
        "partition function. All but hubness are times 100.",
        tuple(tables),
        tuple(pictures),
        legend=tuple(names[: figures.MOST]) if pictures else (),
        absent="" if tasks else "No alignment was measured; `xstilts align` does.",
    )


def _by_block(task: str, rows: Sequence[Score]) -> Table:
    lines: list[tuple[Item, ...]] = [
        (label, layer, *(_cell(own, label, layer, name) for name in MEASURES))
        for (label, layer), own in by_place(rows).items()
    ]
    languages = len({row.language for row in rows})
    domain = rows[0].domain
    title = f"{task}, {languages} languages" + (f", domain {domain}" if domain else "")
    return Table(title, ("expression", "block", *MEASURES), tuple(lines), task=task)


def _cell(rows: Sequence[Score], label: str, layer: int, measure: str) -> Item:
    shown = number(mean_measure(rows, label, layer, measure))
    spread = spread_over_seeds(rows, label, layer, measure)
    return shown if spread is None else replace(shown, subtext=f"± {spread:.1f}")


def _over_blocks(task: str, rows: Sequence[Score], names: Sequence[str]) -> list[Figure]:
    series: dict[str, list[tuple[float, float]]] = {}
    for (label, layer), own in by_place(rows).items():
        value = mean_measure(own, label, layer, SHOWN)
        if value is not None:
            series.setdefault(label, []).append((layer, value))
    if all(len(points) < 2 for points in series.values()):
        return []
    name = figures.named("alignment", task, "blocks")
    title, up = f"{task} by block", "accuracy from the pivot"
    return [figures.lines(name, title, series, "block", up, names=names, task=task)]


def _over_steps(task: str, rows: Sequence[Score], names: Sequence[str]) -> list[Figure]:
    """Curves over the snapshots of trainings, at the block where their mean is highest."""
    steps = [row for row in rows if row.step >= 0 and row.metric == SHOWN]
    if not steps:
        return []
    by_block: dict[int, list[float]] = {}
    for row in steps:
        by_block.setdefault(row.layer, []).append(row.value)
    block = max(sorted(by_block), key=lambda layer: mean(by_block[layer]))
    series: dict[str, list[tuple[float, float]]] = {}
    for label, step in dict.fromkeys((row.intermediate, row.step) for row in steps):
        value = mean_measure(steps, label, block, SHOWN)
        if value is not None:
            series.setdefault(trained_label(label, step), []).append((step, value))
    name = figures.named("alignment", task, "steps")
    title = f"{task} over training, block {block}"
    up = "accuracy from the pivot"
    return [figures.lines(name, title, series, "training steps", up, names=names, task=task)]
