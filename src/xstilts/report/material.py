"""What reports are made from: the newest cells, what was trained for them, and comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from xstilts.config.draws import DRAWS
from xstilts.config.load import pretraining_of
from xstilts.config.progress import ProgressFn, silent
from xstilts.config.specs import SuiteSpec
from xstilts.data import languages
from xstilts.evaluate.names import plain_label, task_title
from xstilts.evaluate.stats import (
    THESE_RUNS,
    Contrast,
    Runs,
    Unit,
    Verdict,
    collect,
    compare_all,
    family,
    family_draws,
    planned,
)
from xstilts.evaluate.store import ResultCell, Score
from xstilts.report.facts import Facts
from xstilts.report.tables import NONE, counted_blocks
from xstilts.tasks.metrics import METRICS

SHORT = 6
"""Characters of a fingerprint that tell backbones of one name apart."""
NAMED = 3
"""Rows with too few seeds that are named; of more only the number is said."""


@dataclass(frozen=True)
class Column:
    """A task as it stands in tables: one split, block and pooling.

    Attributes:
        units: Its languages that every shown expression has.
        retrieval: Whether sentences are retrieved, without any training.
        split: Where that is not the task's own; empty otherwise.
        counted: Whether means take it: of several blocks or poolings of a task one does.
        data: The split, and how many examples a language has in it.
        layer: Block that sentences are pooled from; -1 where none is.
        lower: Whether a lower score is better.
    """

    name: str
    task: str
    metric: str
    units: tuple[Unit, ...]
    every: tuple[Unit, ...]
    retrieval: bool
    split: str = ""
    counted: bool = True
    data: str = ""
    layer: int = -1
    lower: bool = False

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of `units`."""
        return tuple(unit.language for unit in self.units)


@dataclass(frozen=True)
class UnfinishedCell:
    """A cell of a study that has no result.

    Attributes:
        what: The cell.
        status: Such as `failed` or `blocked`.
        why: The error's words.
    """

    study: str
    what: str
    status: str
    why: str = ""


@dataclass(frozen=True)
class Material:
    """Everything that is stored, ready to be shown.

    Attributes:
        cells: Of any number of backbones.
        suite: Orders tasks and says which belong together.
        baseline: Label that others are compared with.
        facts: What was trained for each label.
        problems: Cells of studies that have no result.
        missing: What has no data, in words.
        draws: Of each bootstrap, more where many comparisons are adjusted together; 0 makes none.
        progress: Called with what is being computed, and its share.
    """

    cells: Sequence[ResultCell]
    suite: SuiteSpec
    baseline: str = NONE
    facts: Mapping[str, Facts] = field(default_factory=dict)
    problems: Sequence[UnfinishedCell] = ()
    missing: Sequence[str] = ()
    draws: int = DRAWS
    progress: ProgressFn = silent

    # -- rows

    @cached_property
    def newest(self) -> tuple[ResultCell, ...]:
        """The cells that count, labels carrying the backbone's name where there are several.

        What is the same computation under two labels stands under one of them; see `same_as`.
        """
        backbones = _names({s.fingerprint: s.backbone for cell in self.cells for s in cell.scores})
        kept: dict[tuple[object, ...], ResultCell] = {}
        for cell in sorted(self.cells, key=lambda cell: (cell.written, cell.key)):
            label = plain_label(cell.scores[0])
            label = self.same_as.get((cell.scores[0].fingerprint, label), label)
            if len(backbones) > 1:
                label += f"{AT}{backbones[cell.scores[0].fingerprint]}"
            renamed = _renamed(cell, label)
            first = renamed.scores[0]
            place = (first.intermediate, first.seed, first.group, unit_key(first))
            kept[place] = renamed
        return tuple(kept.values())

    @cached_property
    def same_as(self) -> dict[tuple[str, str], str]:
        """(backbone's fingerprint, label) to another label that the same modules stand under.

        Two labels are one where they share tasks and languages, and the modules of each that they
        share are the same.
        """
        found: dict[tuple[str, str], dict[tuple[object, ...], tuple[object, ...]]] = {}
        for cell in sorted(self.cells, key=lambda cell: (cell.written, cell.key)):
            first = cell.scores[0]
            place = (first.group, first.seed, first.step, unit_key(first))
            modules = found.setdefault((first.fingerprint, plain_label(first)), {})
            modules[place] = (first.digest, *sorted(first.flags))
        names: dict[tuple[str, str], str] = {}
        order = sorted(found, key=lambda key: key[1] != self.baseline)
        for number, (backbone, label) in enumerate(order):
            own = found[backbone, label]
            for key in order[:number]:
                shared = own.keys() & found[key].keys()
                if key[0] != backbone or key in names or not shared:
                    continue
                if all(own[place] == found[key][place] for place in shared):
                    names[backbone, label] = key[1]
                    found[key].update(own)
                    break
        return names

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """Every row of the cells that count."""
        return tuple(score for cell in self.newest for score in cell.scores)

    @cached_property
    def pretraining(self) -> str:
        """The corpus that says which languages the backbones saw; empty where it is unknown."""
        return pretraining_of({score.backbone for score in self.scores})

    @cached_property
    def mains(self) -> tuple[Score, ...]:
        """The rows of the tasks' main metrics."""
        return tuple(score for score in self.scores if score.main)

    @cached_property
    def by_unit(self) -> dict[tuple[str, Unit], list[Score]]:
        """(label, unit) to its rows, one a seed."""
        table: dict[tuple[str, Unit], list[Score]] = {}
        for score in self.mains:
            table.setdefault((score.intermediate, unit_key(score)), []).append(score)
        return table

    @cached_property
    def runs(self) -> dict[str, Runs]:
        """Label to its runs, for statistics."""
        return collect(self.newest)

    # -- what is compared with what

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels with main scores in order of appearance, baselines first."""
        seen = dict.fromkeys(score.intermediate for score in self.mains if score.step < 0)
        return tuple(sorted(seen, key=lambda label: label != self.baseline_of(label)))

    @cached_property
    def others(self) -> tuple[str, ...]:
        """Labels that have a baseline to be compared with."""
        return tuple(
            label
            for label in self.labels
            if self.baseline_of(label) in self.labels and label != self.baseline_of(label)
        )

    def baseline_of(self, label: str) -> str:
        """The baseline on the same backbone."""
        name, separator, backbone = label.rpartition(AT)
        return f"{self.baseline}{separator}{backbone}" if name else self.baseline

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Tasks in the suite's order, then others by name."""
        labels = set(self.labels)
        kinds: dict[Unit, list[Score]] = {}
        for score in self.mains:
            if score.intermediate in labels:
                kinds.setdefault(unit_key(score)._replace(language=""), []).append(score)
        order = {task: number for number, task in enumerate(self.suite.tasks)}
        ranked = sorted(kinds, key=lambda kind: (order.get(kind.task, len(order)), kind))
        blocks = counted_blocks(self.mains)
        return tuple(
            replace(
                _column(kind, kinds[kind], [other for other in ranked if other.task == kind.task]),
                counted=blocks[kind.task, kind.split] == (kind.layer, kind.pooling),
            )
            for kind in ranked
        )

    @cached_property
    def averaged(self) -> tuple[Column, ...]:
        """The columns that means over tasks are taken of: percentages, higher being better.

        A task counts once: by its own split, and by one block where several are pooled. Where no
        task is there in its own split the others' columns are taken.
        """
        columns = [c for c in self.columns if c.counted and not c.lower]
        return tuple([c for c in columns if not c.split] or columns)

    @cached_property
    def data(self) -> str:
        """What was scored: splits and numbers of examples, columns of equal ones together."""
        names: dict[str, list[str]] = {}
        for column in self.columns:
            names.setdefault(column.data, []).append(column.name)
        return "; ".join(f"{', '.join(own)}: {data}" for data, own in names.items())

    def mean(self, label: str, units: Iterable[Unit]) -> float | None:
        """Mean over units of the mean over seeds; None while one is missing."""
        values = [self.value(label, unit) for unit in units]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    def value(self, label: str, unit: Unit) -> float | None:
        """Mean over seeds; None without a row."""
        rows = self.by_unit.get((label, unit), ())
        return sum(row.value for row in rows) / len(rows) if rows else None

    def metric_mean(self, label: str, column: Column, metric: str) -> float | None:
        """Mean over the languages of a column of one of its metrics; None while one is missing."""
        if metric == column.metric:
            return self.mean(label, column.units)
        values: dict[Unit, list[float]] = {unit: [] for unit in column.units}
        for row in self.scores:
            unit = unit_key(row)
            if row.intermediate == label and row.metric == metric and unit in values:
                values[unit].append(row.value)
        means = [sum(own) / len(own) for own in values.values() if own]
        return sum(means) / len(means) if means and len(means) == len(values) else None

    def gain(self, label: str, units: Iterable[Unit]) -> float | None:
        """Mean over units of what a label has more than its baseline."""
        chosen = list(units)
        ours, base = (self.mean(name, chosen) for name in (label, self.baseline_of(label)))
        return None if ours is None or base is None else ours - base

    def mean_of(self, label: str, columns: Sequence[Column]) -> float | None:
        """Mean over tasks; None while one is missing."""
        values = [self.mean(label, column.units) for column in columns if column.units]
        known = [value for value in values if value is not None]
        return sum(known) / len(columns) if known and len(known) == len(columns) else None

    # -- verdicts

    @cached_property
    def verdicts(self) -> dict[tuple[str, str], Verdict]:
        """(label, column or mean) to its comparison with the baseline; one family for Holm."""
        jobs: list[tuple[tuple[str, str], list[Unit]]] = []
        for label in self.others:
            base = self.baseline_of(label)
            own = [c for c in self.columns if c.units and self._both(label, base, c)]
            jobs += [((label, column.name), list(column.units)) for column in own]
            for name, columns in self.means.items():
                if len(columns) > 1 and all(column in own for column in columns):
                    jobs.append(((label, name), [u for c in columns for u in c.units]))
        return self.compared(jobs)

    def compared(
        self, jobs: Sequence[tuple[tuple[str, str], Sequence[Unit]]], draws: int | None = None
    ) -> dict[tuple[str, str], Verdict]:
        """Compare labels with their baselines on given units; one family for Holm."""
        if not self.draws:
            return {}
        contrasts = {
            key: planned(self.runs[key[0]], self.runs[self.baseline_of(key[0])], units, key[1])
            for key, units in jobs
        }
        return self.tested(contrasts, draws)

    def tested(
        self, contrasts: Mapping[tuple[str, str], Contrast], draws: int | None = None
    ) -> dict[tuple[str, str], Verdict]:
        """The verdicts of contrasts, by the same keys; one family for Holm."""
        enough = family_draws(draws or self.draws, len(contrasts))
        found = compare_all(list(contrasts.values()), draws=enough, progress=self._comparing)
        return dict(zip(contrasts, family(found), strict=True))

    def _comparing(self, task: str, share: float) -> None:
        self.progress(f"comparing on {task}", share)

    def _both(self, label: str, base: str, column: Column) -> bool:
        return all(self.runs[name].on(column.units).table for name in (label, base))

    @cached_property
    def scope(self) -> str:
        """What differences hold for, where fewer than three seeds of an expression were trained."""
        names = {*self.others, *map(self.baseline_of, self.others)}
        few = {name for name in names if self.runs[name].few_trainings}
        trained = {name for name in names if self.runs[name].trained}
        if not few:
            return ""
        if few == trained:
            return THESE_RUNS
        named = ", ".join(sorted(few)) if len(few) <= NAMED else f"{len(few)} rows"
        return f"{named} with fewer than three seeds: {THESE_RUNS}"

    @cached_property
    def means(self) -> dict[str, tuple[Column, ...]]:
        """The means that are shown: of all tasks, and without those that only retrieve."""
        trained = tuple(column for column in self.averaged if not column.retrieval)
        splits = " and ".join(sorted({column.split for column in self.averaged}))
        mean = f"mean {splits}".rstrip()
        shown = {mean: self.averaged}
        if trained and len(trained) < len(self.averaged):
            shown[f"{mean} without retrieval"] = trained
        return shown if len(self.averaged) > 1 else {}


def _names(backbones: Mapping[str, str]) -> dict[str, str]:
    """Fingerprint to the backbone's name, with some of the fingerprint where two have one name."""
    times = Counter(backbones.values())
    return {
        key: name if times[name] == 1 else f"{name}@{key[:SHORT]}"
        for key, name in backbones.items()
    }


@cache
def _lower_is_better() -> frozenset[str]:
    return frozenset(m.MAIN for m in map(METRICS.get, METRICS) if m.LOWER_IS_BETTER)


@cache
def described(code: str) -> dict[str, str]:
    """Name, script, family and tier of a language; empty texts where nothing is known."""
    found = languages.language(code) if languages.group(code, "seen") != languages.UNKNOWN else None
    if found is None:
        return dict.fromkeys(("name", "script", "family", "tier"), "")
    return {
        "name": found.name,
        "script": found.script_name,
        "family": found.family,
        "tier": found.tier,
    }


AT = " · "
"""Between label and backbone, where there are several backbones."""


def _renamed(cell: ResultCell, label: str) -> ResultCell:
    if all(score.intermediate == label for score in cell.scores):
        return cell
    rows = [score.model_copy(update={"intermediate": label}) for score in cell.scores]
    return replace(cell, scores=rows)


def unit_key(score: Score) -> Unit:
    """What a score is of."""
    return Unit(score.task, score.language, score.split, score.layer, score.pooling)


def _column(kind: Unit, rows: Sequence[Score], siblings: Sequence[Unit]) -> Column:
    """A column; its units are the languages that every label with any of them has.

    Its name says the split, block and pooling where `siblings`, all of the task, differ in them.
    """
    by_label: dict[str, set[Unit]] = {}
    for row in rows:
        by_label.setdefault(row.intermediate, set()).add(unit_key(row))
    every = dict.fromkeys(unit_key(row) for row in rows)
    shared = set.intersection(*by_label.values())
    title = task_title(kind.task, kind.split)
    parts = [title]
    if len({sibling.layer for sibling in siblings}) > 1:
        parts.append(f"block {kind.layer}")
    if len({sibling.pooling for sibling in siblings}) > 1:
        parts.append(kind.pooling)
    return Column(
        " ".join(parts),
        kind.task,
        rows[0].metric,
        tuple(unit for unit in every if unit in shared),
        tuple(every),
        retrieval=kind.layer >= 0,
        split="" if title == kind.task else kind.split,
        data=data_text(kind.split, {row.n for row in rows}),
        layer=kind.layer,
        lower=rows[0].metric in _lower_is_better(),
    )


def data_text(split: str, sizes: set[int]) -> str:
    """What scores were measured on: `test, n = 5010 a language`."""
    few, many = min(sizes), max(sizes)
    return f"{split}, n = {few}{f' to {many}' if many > few else ''} a language".lstrip(", ")
