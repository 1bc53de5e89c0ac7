"""What is missing, published numbers beside ours, and where every number comes from."""

from __future__ import annotations

from xstilts.report import published
from xstilts.report.material import Material
from xstilts.report.model import Item, Section, Table, difference, number


def missing_section(material: Material) -> Section:
    """Cells of studies that failed or wait, and languages that some expressions lack."""
    problems = tuple((p.study, p.what, p.status, p.why) for p in material.problems)
    gaps: list[tuple[Item, ...]] = []
    for column in material.columns:
        for label in material.labels:
            lacking = [u.language for u in column.every if (label, u) not in material.by_unit]
            if lacking:
                gaps.append((label, column.name, len(lacking), " ".join(lacking)))
    absent_tasks = [task for task in material.suite.tasks if task not in _tasks(material)]
    tables = []
    if problems:
        columns = ("study", "cell", "status", "why")
        tables.append(Table("Cells of studies without a result", columns, problems, names=4))
    if gaps:
        columns = ("expression", "task", "languages", "which")
        note = "Languages that others have; means leave them out for all."
        tables.append(Table("Languages without a score", columns, tuple(gaps), note=note, names=2))
    words = list(material.missing)
    if absent_tasks:
        words.append(
            f"Of {material.suite.name}, nothing was evaluated on {', '.join(absent_tasks)}."
        )
    return Section(
        "missing",
        "Failed and missing cells",
        " ".join(words),
        tuple(tables),
        absent="" if tables or words else "Nothing failed and nothing is missing.",
    )


def _tasks(material: Material) -> set[str]:
    return {column.task for column in material.columns}


def reference_section(material: Material) -> Section:
    """Published numbers beside ours."""
    rows: list[tuple[Item, ...]] = []
    for entry in published.published():
        column = next((c for c in material.columns if c.task == entry.task), None)
        label = next((name for name in material.labels if _named(name) == entry.label), None)
        if column is None or label is None:
            continue
        if entry.is_gain and label not in material.others:
            continue
        ours = material.metric_mean(label, column, entry.metric)
        if entry.is_gain:
            base = material.metric_mean(material.baseline_of(label), column, entry.metric)
            ours = None if ours is None or base is None else ours - base
        shown = difference if entry.is_gain else number
        rows.append(
            (
                label,
                column.name,
                entry.system,
                f"{entry.metric}, {'gain' if entry.is_gain else 'score'}",
                shown(entry.value),
                shown(ours),
                entry.split,
                entry.confidence,
                entry.source,
            )
        )
    columns = (
        "expression", "task", "published system", "what", "published", "ours", "published split",
        "confidence", "source",
    )  # fmt: skip
    return Section(
        "reference",
        "Published numbers beside ours",
        "Published: X-STILTs (arXiv:2005.13013) on XLM-R large, and XTREME's baselines. They "
        "compare only where backbone, split and languages are the same as here. Confidence: "
        "'read' in the named source, 'computed' from such values, 'cross-checked' is remembered "
        "and passes a numeric check, 'remembered' is unconfirmed.",
        (Table("Published and ours", columns, tuple(rows), names=4),),
        absent="" if rows else "No published number is of a task and expression shown here.",
    )


def _named(label: str) -> str:
    """The intermediate task that a label begins with: `mnli` of `mnli/lora`."""
    return label.split("/")[0]


def provenance_section(material: Material) -> Section:
    """One row for every score."""
    rows = tuple(
        (
            s.intermediate,
            s.expression,
            s.task,
            s.language,
            s.split,
            s.metric,
            number(s.value, 2),
            s.n,
            s.seed if s.seed >= 0 else "",
            s.step if s.step >= 0 else "",
            s.layer if s.layer >= 0 else "",
            s.backbone,
            s.selection,
            ", ".join(s.flags),
            s.digest[:12] or "untouched",
            s.predictions_sha256[:12],
            s.cell[:12],
        )
        for s in material.scores
    )
    columns = (
        "label", "expression", "task", "language", "split", "metric", "value", "n", "seed", "step",
        "block", "backbone", "selection", "flags", "modules", "predictions sha256", "cell",
    )  # fmt: skip
    return Section(
        "provenance",
        "Provenance of each number",
        f"{len(rows)} score rows. Modules, predictions and cell are the first digits of sha256 "
        "sums; the cell's folder in the result store holds predictions and outcomes. Equal cells "
        "mean equal inputs, on whatever machine; equal sums mean equal predictions.",
        (Table("Score rows", columns, rows, names=6, long=True),),
        closed=True,
    )
