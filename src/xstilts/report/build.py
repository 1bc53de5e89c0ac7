"""From material to a report."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from xstilts.errors import NotFoundError
from xstilts.report.material import Material, described
from xstilts.report.model import Choices, Report, Section, period
from xstilts.report.sections import alignment, costs, groups, results, sources
from xstilts.report.summary import summary

SIMULATION = (
    "These scores come from the sandbox world, a simulation of artificial languages. "
    "They are no evidence about real languages."
)
SECTIONS: tuple[Callable[[Material], Section], ...] = (
    results.main_section,
    results.verdict_section,
    results.heat_section,
    results.language_section,
    groups.group_section,
    groups.gap_section,
    groups.loss_section,
    alignment.alignment_section,
    costs.cost_section,
    costs.size_section,
    costs.share_section,
    sources.missing_section,
)


def build(material: Material, *, reference: bool = False, warning: str = "") -> Report:
    """All sections, in order; those without data say why.

    Args:
        material: What is stored.
        reference: Put published numbers beside ours.
        warning: Shown at the top.

    Raises:
        NotFoundError: There are no scores.
        IntegrityError: Stored outcomes do not give the stored score.
    """
    if not material.scores:
        raise NotFoundError("the result store has no scores", hint="Run `xstilts eval` first.")
    chosen = [*SECTIONS, *([sources.reference_section] if reference else [])]
    chosen.append(sources.provenance_section)
    return Report(
        "Cross-lingual transfer by composed modules",
        _about(material),
        warning,
        tuple(make(material) for make in chosen),
        summary(material),
        _choices(material),
    )


def _choices(material: Material) -> Choices:
    codes = dict.fromkeys(score.language for score in material.scores)
    return Choices(
        {column.name: (column.task, column.layer) for column in material.columns},
        material.others,
        {code: described(code) for code in codes},
        tuple(sorted({score.layer for score in material.scores if score.layer >= 0})),
    )


def _about(material: Material) -> tuple[str, ...]:
    scores = material.scores
    backbones = sorted({f"{s.backbone} ({s.fingerprint[:12]})" for s in scores})
    seeds = sorted({s.seed for s in scores if s.seed >= 0})
    when = period(cell.written for cell in material.newest) or "at a time that is not kept"
    older = len(material.cells) - len(material.newest)
    left = f", {older} older cells of the same label and seed left out" if older else ""
    return (
        f"Backbone: {', '.join(backbones)}.",
        f"{len(material.newest)} cells, {len(scores)} score rows{left}.",
        f"Seeds: {', '.join(map(str, seeds)) or 'none'}. Evaluated {when}. "
        f"xstilts {version('xstilts')}.",
        "Every number comes from a stored predictions file; the last section says from which.",
        *_machines(material),
    )


def _machines(material: Material) -> tuple[str, ...]:
    """What computed the cells, one line."""
    names = ("cpu", "threads", "kernels", "onednn", "gpu")
    told = {
        ", ".join(f"{name} {cell.machine[name]}" for name in names if cell.machine.get(name))
        for cell in material.newest
        if cell.machine
    }
    return (f"Evaluated on: {'; '.join(sorted(told))}.",) if told else ()
