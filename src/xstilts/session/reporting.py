"""The verbs about stored scores and predictions: report, score a folder, plan a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xstilts.config.draws import DRAWS
from xstilts.errors import NotFoundError
from xstilts.session.setup import Setup, expanded

if TYPE_CHECKING:
    from xstilts.backbone.backbone import Backbone
    from xstilts.grid.context import GridContext
    from xstilts.report.results import FolderScoresResult, ReportResult


class Reporting(Setup):
    """The verbs about stored scores and predictions; see `Session`."""

    def score(
        self, predictions: str | Path, labels: str | Path, suite: str = "xtreme"
    ) -> FolderScoresResult:
        """Score a folder of predictions in XTREME's official layout, also one of other tools.

        Args:
            predictions: Folder with `TASK/test-LANG.tsv|json` files.
            labels: Folder of the same layout with the labels.
            suite: `xtreme` or `xtreme-r`.

        Raises:
            NotFoundError: There is no such folder, neither has a task of the suite, or labels of a
                language are missing.
            DataError: A file is broken.
        """
        from xstilts.config.load import load_suite
        from xstilts.evaluate.xtreme import score_folder
        from xstilts.report.results import FolderScoresResult

        chosen = load_suite(suite)
        return FolderScoresResult(chosen, *score_folder(Path(predictions), Path(labels), chosen))

    def report(
        self,
        html: str | Path | None = None,
        *,
        tasks: Sequence[str] = (),
        labels: Sequence[str] = (),
        backbone: str = "",
        baseline: str = "none",
        suite: str = "xtreme",
        reference: str = "",
        draws: int = DRAWS,
        figure_formats: Sequence[str] = ("svg", "pdf", "png"),
        **files: Path | None,
    ) -> ReportResult:
        """A report of the stored scores, written in the forms that are asked for.

        Args:
            html: One self-contained page.
            tasks: Rows of these tasks only, by name or by the path of a YAML.
            labels: Only these labels, with the baseline.
            backbone: Only this backbone, by its short name.
            baseline: Label that differences are taken to.
            suite: Order of the tasks, and which of them make the overall figure.
            reference: `paper` puts published numbers beside ours.
            draws: Of each bootstrap; 0 makes no comparisons.
            figure_formats: Of `figures`.
            files: Other forms by name: `latex`, `markdown`, `csv`, `parquet`, `mteb` (a folder),
                `lm_eval` (a folder), `xtreme_json`, `figures` (a folder).

        Raises:
            NotFoundError: There is no such reference, suite or task.
        """
        self.note("reading stored scores")
        from xstilts.config.load import load_suite
        from xstilts.grid.state import GridFolder, study_problems
        from xstilts.report.build import SIMULATION, build
        from xstilts.report.facts import facts
        from xstilts.report.forms import write_forms
        from xstilts.report.material import Material
        from xstilts.report.results import ReportResult
        from xstilts.report.selection import selected_cells

        if reference not in ("", "paper"):
            raise NotFoundError.named("reference", reference, ["paper"])
        wanted = [*labels, baseline] if labels else []
        cells = selected_cells(self.results, tasks=tasks, labels=wanted, backbone=backbone)
        problems, missing = study_problems(GridFolder(self.results_folder))
        scores = [score for cell in cells for score in cell.scores]
        known, chosen = facts(scores, self.zoo, self.runs), load_suite(suite)
        with self.progress("report") as progress:
            material = Material(cells, chosen, baseline, known, problems, missing, draws, progress)
            warning = SIMULATION if self.world else ""
            made = build(material, reference=bool(reference), warning=warning)
        asked = {"html": expanded(html), **{name: expanded(path) for name, path in files.items()}}
        written = write_forms(made, material, asked, figure_formats)
        return ReportResult(made, material, written)

    def grid_context(self, command: str = "", *, plan_only: bool = False) -> GridContext:
        """Where the cells of studies are planned and computed.

        Args:
            command: Shown to resume.
            plan_only: No weight of a backbone is loaded before it is needed.
        """
        from xstilts.grid.context import GridContext

        def load(name: str) -> Backbone:
            chosen = self.study_backbone(name)
            return self.outlined_backbone(chosen) if plan_only else self.backbone(chosen)

        where = self.workspace(), self.results_folder
        return GridContext(*where, load, self.training_defaults, command)
