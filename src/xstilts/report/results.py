"""What the verbs of a session give: values that know their rows and show themselves as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.config.specs import SuiteSpec
from xstilts.config.tabular import Tabular, View
from xstilts.evaluate.request import EvaluationOutcome
from xstilts.evaluate.stats import standard_errors
from xstilts.evaluate.store import Score
from xstilts.evaluate.xtreme import SuiteScores, Summary, official, summarise, transfer_gaps
from xstilts.report.alignment import alignment_tables
from xstilts.report.exports import frame
from xstilts.report.tables import language_tables, main_table, transposed
from xstilts.zoo import Entry, Manifest
from xstilts.zoo.entry import pair

if TYPE_CHECKING:  # scores are shown without torch
    from xstilts.composition.export import Exported
    from xstilts.composition.importing.folder import Imported
    from xstilts.composition.predictor import Prediction
    from xstilts.evaluate.ranking import ModuleRanking
    from xstilts.report.material import Material
    from xstilts.report.model import Report

WIDE = 12
"""Columns above which a table has its languages as rows."""


@dataclass(frozen=True, repr=False)
class ModuleResult(Tabular):
    """A module of the zoo, as a training, a merge or a pull left it there.

    Attributes:
        entry: Its folder and manifest.
        seconds: Wall time of what made it; None where nothing was computed.
    """

    entry: Entry
    seconds: float | None = None

    @property
    def reference(self) -> str:
        """What finds it, such as `mnli/lora/xlm-roberta-base@0a1b2c`."""
        return self.entry.reference

    @property
    def digest(self) -> str:
        """Of everything in the module; `@` and its first digits find it, too."""
        return self.entry.manifest.digest

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.entry.folder

    @property
    def manifest(self) -> Manifest:
        """What it is, and what it was made from."""
        return self.entry.manifest

    @property
    def dev_score(self) -> float | None:
        """Best score of the dev rows in training, 0..100; None without a training."""
        return self.manifest.training.get("dev_score")

    def records(self) -> list[dict[str, Any]]:
        """One row."""
        training = self.manifest.training
        return [
            {
                "reference": self.reference,
                "folder": str(self.folder),
                "digest": self.digest,
                "dev_score": self.dev_score,
                "steps": training.get("steps"),
                "mb": round(sum(file.size for file in self.manifest.files) / 1e6, 2),
                "selection": training.get("selection"),
                "seconds": self.seconds,
            }
        ]


@dataclass(frozen=True, repr=False)
class ScoresResult(Tabular):
    """What an evaluation found.

    Attributes:
        outcome: Its cells, how many were computed now, what has no data.
    """

    outcome: EvaluationOutcome

    @property
    def scores(self) -> list[Score]:
        """Every score row, 0..100."""
        return self.outcome.scores

    def records(self) -> list[dict[str, Any]]:
        """One row a score."""
        return [score.model_dump() for score in self.scores]

    def views(self) -> list[View]:
        """One table a task: expression by language, or turned where there are many; or alignment.

        Below each expression stands the standard error over examples, below all their number.
        """
        found = language_tables(self.scores, standard_errors(self.outcome.cells))
        shown = [transposed(view) if len(view.columns) > WIDE else view for view in found]
        return [*shown, *(view for view, _ in alignment_tables(self.outcome.cells))]

    def to_pandas(self) -> Any:
        """The long-form rows, one a score, with the columns of `xstilts report --csv`."""
        return frame(self.outcome.cells)


@dataclass(frozen=True, repr=False)
class RecipeResult(ScoresResult):
    """What a recipe's modules score: a row an intermediate, a column a target.

    Attributes:
        missing: What could not be trained or evaluated, and why, a line each.
    """

    missing: tuple[str, ...] = ()

    def views(self) -> list[View]:
        """The recipe's table: means over languages, and their difference to `none`."""
        return [main_table(self.scores)]


@dataclass(frozen=True, repr=False)
class RankResult(Tabular):
    """Modules as intermediates for a target, best first.

    Attributes:
        outcome: Modules with their estimates, and the agreement with stored scores.
        methods: The estimates asked for.
    """

    outcome: ModuleRanking
    methods: tuple[str, ...]

    def records(self) -> list[dict[str, Any]]:
        """One row a module."""
        return [
            {
                "module": f"{pair(row.entry.manifest)}@{row.entry.manifest.digest[:6]}",
                "mean_rank": row.mean_rank,
                **{method: row.estimates.get(method) for method in self.methods},
                "known": row.known,
            }
            for row in self.outcome.rows
        ]


@dataclass(frozen=True, repr=False)
class SearchResult(Tabular):
    """The weights that a search found.

    Attributes:
        expression: With the best weights.
        loss: Mean loss of the examples with them, penalty included.
        start_loss: The same with the weights as written.
        penalty: The part of `loss` that is the penalty on large weights.
        start_penalty: The same of `start_loss`.
        judged: How many weights were judged.
        examples: That they were judged on.
        entry: The module that was kept, or None.
    """

    expression: str
    loss: float
    start_loss: float
    penalty: float
    start_penalty: float
    judged: int
    examples: int
    entry: Entry | None = None

    def records(self) -> list[dict[str, Any]]:
        """One row."""
        return [
            {
                "expression": self.expression,
                "loss": self.loss,
                "start_loss": self.start_loss,
                "judged": self.judged,
                "examples": self.examples,
                "reference": self.entry.reference if self.entry else "",
            }
        ]


@dataclass(frozen=True, repr=False)
class PredictionsResult(Tabular):
    """What a head says about inputs, in their order; indexed and iterated like a list."""

    predictions: tuple[Prediction, ...]

    def __len__(self) -> int:
        return len(self.predictions)

    def __getitem__(self, place: int) -> Prediction:
        return self.predictions[place]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)

    def records(self) -> list[dict[str, Any]]:
        """One row an input: its fields, the prediction, and a column for each label's share."""
        return [
            {"id": p.id, **p.fields, "prediction": p.value, **p.scores} for p in self.predictions
        ]


@dataclass(frozen=True, repr=False)
class PushResult(Tabular):
    """A module that was shared.

    Attributes:
        module: Its reference in the zoo.
        target: Where to, as written.
        scores: Rows in its card.
        reference: Where exactly it is now.
        url: For people; may be empty.
    """

    module: str
    target: str
    scores: int
    reference: str
    url: str

    def records(self) -> list[dict[str, Any]]:
        """One row."""
        return [dict(vars(self))]


@dataclass(frozen=True, repr=False)
class ExportResult(Tabular):
    """A module that was exported.

    Attributes:
        kind: Such as `hf` or `peft`.
        made: Its folder and files, and how much a reload differs.
    """

    kind: str
    made: Exported

    def records(self) -> list[dict[str, Any]]:
        """One row."""
        made = self.made
        return [
            {
                "kind": self.kind,
                "folder": str(made.folder),
                "files": list(made.files),
                "difference": made.difference,
            }
        ]


@dataclass(frozen=True, repr=False)
class ImportResult(Tabular):
    """A module of another library that was taken over.

    Attributes:
        found: What was read; its notes say what was left behind.
        origin: The repository and commit that it was fetched from; empty for a folder.
        entry: It in the zoo; None after a dry run.
    """

    found: Imported
    origin: str
    entry: Entry | None

    def records(self) -> list[dict[str, Any]]:
        """One row."""
        found, entry = self.found, self.entry
        record: dict[str, Any] = {
            "library": found.library,
            "method": found.adapter.method,
            "parameters": found.adapter.num_parameters,
            "head": found.head.task.format if found.head else "",
            "notes": list(found.notes),
            "origin": self.origin,
        }
        if entry:
            record |= {"reference": entry.reference, "folder": str(entry.folder)}
        return [record]


@dataclass(frozen=True, repr=False)
class FolderScoresResult(Tabular):
    """Scores of a folder of predictions.

    Attributes:
        suite: Says which tasks and languages count.
        found: Task to language to score name to value, 0..100.
        absent: Prediction files that are missing.
    """

    suite: SuiteSpec
    found: SuiteScores
    absent: list[str]

    @cached_property
    def summary(self) -> Summary:
        """Task scores, group scores and the overall; nothing is averaged that lacks a part."""
        return summarise(self.found, self.suite)

    @property
    def official(self) -> dict[str, Any]:
        """What XTREME's own scorer prints."""
        return official(self.found, self.summary)

    def records(self) -> list[dict[str, Any]]:
        """One row a task, language and score name."""
        return [
            {"task": task, "language": code, "metric": name, "value": value}
            for task, by_language in self.found.items()
            for code, values in by_language.items()
            for name, value in values.items()
        ]

    def views(self) -> list[View]:
        """Averages and transfer gaps, then each task by language."""
        summary, found = self.summary, self.found
        rows: list[tuple[object, ...]] = []
        if summary.overall is not None:
            rows.append(("overall", "", summary.overall))
        rows += [("group", name, value) for name, value in summary.groups.items()]
        rows += [("task", name, value) for name, value in summary.tasks.items()]
        gaps = transfer_gaps(found, summary).items()
        rows += [("gap", f"{task} ({metric})", value) for task, (metric, value) in gaps]
        views = [View(self.suite.title, ("", "", "score"), tuple(rows))]
        for task, by_language in found.items():
            names = list(dict.fromkeys(n for v in by_language.values() for n in v if n != "mean"))
            lines = (
                (code, *(values.get(name, "") for name in names))
                for code, values in by_language.items()
            )
            views.append(View("", (task, *names), tuple(lines)))
        return views


@dataclass(frozen=True, repr=False)
class ReportResult(Tabular):
    """A report and the files it was written to.

    Attributes:
        report: Its sections of tables and figures.
        material: The stored scores it was made from.
        files: Form, such as `html` or `latex`, to absolute path.
    """

    report: Report
    material: Material
    files: dict[str, str]

    def records(self) -> list[dict[str, Any]]:
        """One row a score that the report shows."""
        from xstilts.report.exports import long_rows

        return long_rows(self.material.newest)

    def views(self) -> list[View]:
        """The tables of the first section."""
        return [
            View(
                f"{table.title}. {table.scope_note}".rstrip(". "),
                table.columns,
                tuple(_texts(row) for row in table.rows),
            )
            for table in self.report.sections[0].tables
        ]


def _texts(row: Sequence[object]) -> tuple[str, ...]:
    return tuple("" if item is None else str(item) for item in row)
