"""What the verbs of a session give: values that know their rows and show themselves as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from xstilts.api import Prediction
from xstilts.evaluate.ranking import ModuleRanking
from xstilts.evaluate.request import EvaluationOutcome
from xstilts.evaluate.store import Score
from xstilts.report.exports import frame
from xstilts.report.material import Material
from xstilts.report.model import Report
from xstilts.report.tables import View, language_tables, transposed
from xstilts.zoo import Entry, Manifest
from xstilts.zoo.entry import pair

WIDE = 12
"""Columns above which a table has its languages as rows."""


class Tabular:
    """A result with rows; a notebook shows its tables, `print` shows them as text."""

    def records(self) -> list[dict[str, Any]]:
        """One mapping a row, of plain values."""
        raise NotImplementedError

    def views(self) -> list[View]:
        """The tables that are shown."""
        records = self.records()
        columns = tuple(dict.fromkeys(name for record in records for name in record))
        rows = tuple(tuple(record.get(name, "") for name in columns) for record in records)
        return [View("", columns, rows)]

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame(self.records())

    def __repr__(self) -> str:
        shown = [(view.title, _frame(view)) for view in self.views()]
        texts = [
            "\n".join(
                part
                for part in (title, f.to_string(index=False, float_format="{:.1f}".format))
                if part
            )
            for title, f in shown
        ]
        return "\n\n".join(texts)

    def _repr_html_(self) -> str:
        parts = []
        for view in self.views():
            title = f"<p>{escape(view.title)}</p>" if view.title else ""
            table = _frame(view).to_html(index=False, float_format="{:.1f}".format, border=0)
            parts.append(title + table)
        return "\n".join(parts)


def _frame(view: View) -> Any:
    import pandas

    return pandas.DataFrame(list(view.rows), columns=list(view.columns))


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
        """One table a task: expression by language, or turned where there are many."""
        found = language_tables(self.scores)
        return [transposed(view) if len(view.columns) > WIDE else view for view in found]

    def to_pandas(self) -> Any:
        """The long-form rows, one a score, with the columns of `xstilts report --csv`."""
        return frame(self.outcome.cells)


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
        judged: How many weights were judged.
        examples: That they were judged on.
        entry: The module that was kept, or None.
    """

    expression: str
    loss: float
    start_loss: float
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
            View(table.title, table.heads, tuple(_texts(row) for row in table.rows))
            for table in self.report.sections[0].tables
        ]


def _texts(row: Sequence[object]) -> tuple[str, ...]:
    return tuple("" if item is None else str(item) for item in row)
