"""The verbs that score: evaluate, run a suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xstilts.errors import AmbiguousError, NotFoundError
from xstilts.session.setup import listed
from xstilts.session.training import Training

if TYPE_CHECKING:
    from xstilts.evaluate.evaluator import Evaluator
    from xstilts.evaluate.request import Request
    from xstilts.report.results import ScoresResult
    from xstilts.train.phases import Phase


class Evaluating(Training):
    """The verbs that score; see `Session`."""

    def evaluator(
        self,
        requests: Sequence[Request] = (),
        *,
        backbone: str = "",
        precision: str = "fp32",
        compiled: bool = False,
    ) -> Evaluator:
        """What evaluates on a backbone, with the session's result store.

        Args:
            requests: Refused before the backbone is loaded where `require_requests` does.
            backbone: Instead of the session's.
            precision: See `evaluate`.
            compiled: See `evaluate`.

        Raises:
            UsageError: There is no such precision, or none with `compiled`.
        """
        self.require_precision(precision)
        used = cast("Any", precision)
        self.require_requests(requests, backbone)
        from xstilts.evaluate.evaluator import Evaluator

        known = self.known_backbone(backbone)
        return Evaluator(known, self.workspace(), self.results, used, compiled=compiled)

    def run_requests(
        self, evaluator: Evaluator, requests: Sequence[Request], *, force: bool = False
    ) -> ScoresResult:
        """Evaluate, and say what was computed."""
        from xstilts.report.results import ScoresResult

        with self.progress("evaluating") as progress:
            outcome = evaluator.run(requests, progress, force=force)
        for line in outcome.remarks:
            self.note(line)
        return ScoresResult(outcome)

    def _tell_looking(self, expressions: Sequence[str], tasks: Sequence[str]) -> None:
        """Say, before anything is imported, what is evaluated."""
        self.note(f"evaluating {', '.join(expressions)} on {', '.join(tasks)}")

    def evaluate(
        self,
        expressions: str | Iterable[str],
        task: str,
        *,
        langs: Sequence[str] = (),
        split: str = "",
        limit: int = 0,
        layers: Sequence[int] = (),
        pooling: str = "",
        options: Mapping[str, Any] | None = None,
        head: str = "",
        precision: str = "fp32",
        compiled: bool = False,
        backbone: str = "",
        force: bool = False,
    ) -> ScoresResult:
        """Score expressions on one task; only cells that are missing are computed.

        Args:
            expressions: Such as `none` or `mnli/lora`.
            task: Name, or path of a YAML.
            langs: Languages; all that have data when empty.
            split: The task's own when empty; `test[:100]` is its first rows.
            limit: Only so many first rows of each language; 0 for all. The split of every score
                says so, and such scores never stand for those of all rows.
            layers: Blocks pooled for retrieval; the backbone's own when empty.
            pooling: `mean`, `cls` or `last`, for retrieval; the task's when empty.
            options: Of the task, such as `{"margin": "distance"}`.
            head: Module whose head predicts, for expressions without one, such as a merge.
            precision: `fp32`; `bf16` where the machine computes in it; `int8` on a CPU.
            compiled: Run the blocks through torch.compile.
            backbone: Instead of the session's.
            force: Compute finished cells again.

        Raises:
            UsageError: An expression has no head for the task.
            NotFoundError: A module, task or language is unknown, or there is no data.
        """
        evaluator, requests = self.evaluation(
            expressions,
            task,
            precision=precision,
            compiled=compiled,
            backbone=backbone,
            langs=langs,
            split=split,
            limit=limit,
            layers=layers,
            pooling=pooling,
            options=options,
            head=head,
        )
        return self.run_requests(evaluator, requests, force=force)

    def evaluation(
        self,
        expressions: str | Iterable[str],
        task: str,
        *,
        precision: str = "fp32",
        compiled: bool = False,
        backbone: str = "",
        **which: Any,
    ) -> tuple[Evaluator, list[Request]]:
        """An evaluation before it runs; see `evaluate`."""
        texts, head = listed(expressions), which.get("head", "")
        self._tell_looking(texts, [task])
        from xstilts.evaluate.request import task_requests

        chosen = self.reference_for([*texts, *([head] if head else [])], backbone)
        requests = task_requests(texts, task, **which)
        how: dict[str, Any] = {"precision": precision, "compiled": compiled}
        return self.evaluator(requests, backbone=chosen, **how), requests

    def xtreme(
        self,
        expressions: str | Iterable[str],
        *,
        submit_dir: str | Path | None = None,
        precision: str = "fp32",
        compiled: bool = False,
        force: bool = False,
        **options: Any,
    ) -> ScoresResult:
        """Score expressions on a suite's targets; a missing target head is trained first.

        Args:
            expressions: Such as `none` or `fuse(mnli, qqp)`.
            submit_dir: Also write the predictions in XTREME's official layout.
            precision: See `evaluate`.
            compiled: See `evaluate`.
            force: Compute finished cells again.
            options: `tasks`, `suite`, `top`, `overrides`, `langs`, `split`, `limit`, `layers`,
                `pooling`, `backbone`: see `suite_requests`.
        """
        self._tell_looking(
            listed(expressions), options.get("tasks") or [options.get("suite", "xtreme")]
        )
        from xstilts.config.load import load_suite
        from xstilts.data.sources import first_rows
        from xstilts.evaluate.submission import (
            require_free,
            require_own_split,
            write_submission,
        )

        self.require_precision(precision)
        if submit_dir is not None:
            require_free(Path(submit_dir))
            suite = load_suite(options.get("suite", "xtreme"))
            for task in options.get("tasks") or suite.tasks:
                rows = first_rows(options.get("split", ""), options.get("limit", 0))
                require_own_split(task, rows)
        chosen = self.reference_for(expressions, options.pop("backbone", ""))
        requests, _ = self.suite_requests(expressions, backbone=chosen, **options)
        evaluator = self.evaluator(backbone=chosen, precision=precision, compiled=compiled)
        result = self.run_requests(evaluator, requests, force=force)
        if submit_dir is not None:
            files = write_submission(result.outcome.cells, Path(submit_dir))
            self.note(f"{sum(len(found) for found in files.values())} files in {submit_dir}")
        return result

    def suite_requests(
        self,
        expressions: str | Iterable[str],
        *,
        tasks: Sequence[str] = (),
        suite: str = "xtreme",
        top: str = "seq_bn",
        overrides: Sequence[str] = (),
        backbone: str = "",
        plan_only: bool = False,
        **which: Any,
    ) -> tuple[list[Request], list[Phase]]:
        """What `xtreme` evaluates; target heads that are missing are trained on the way.

        Args:
            expressions: Such as `none` or `fuse(mnli, qqp)`.
            tasks: Targets; those of the suite that have data when empty.
            suite: `xtreme` or `xtreme-r`: tasks and their languages.
            top: New module trained for a target where no head fits.
            overrides: Settings of that training, such as `train.epochs=2`.
            backbone: Instead of the session's.
            plan_only: Train nothing; phases that are left to run stand in the second list, and what
                they would make is not evaluated.
            which: `langs`, `split`, `limit`, `layers` and `pooling`, see `evaluate`; languages are
                those of the suite that have data when empty.
        """
        from xstilts.evaluate.request import task_requests

        chosen = list(tasks) or self.suite_tasks(suite)
        langs = self._langs_by_task(chosen, suite, which.pop("langs", ()))
        chosen = [*langs]
        self.require_writable("results", "cache")
        from xstilts.evaluate.cells import require_data

        pairs = list(product(listed(expressions), chosen))
        if any(self._lacking_head(*pair, top, backbone) for pair in pairs):
            self.require_writable("zoo")
        for task in chosen:
            asked = task_requests(["none"], task, suite=suite, langs=langs[task], **which)
            require_data(asked, self.data, offline=self.no_hub)
        requests: list[Request] = []
        ahead: list[Phase] = []
        for expression, task in pairs:
            training = self.head_training(expression, task, top, overrides, backbone)
            known = training and self.trained(**training)
            if training and not known:
                phase = self.phase(**training, plan_only=plan_only)
                if plan_only and not self.zoo.find_run(phase.run_key):
                    ahead.append(phase)
                    continue
                known = self.run_phase(phase)
            used = "@" + known.digest if known else expression
            requests += task_requests(
                [used], task, label=expression, suite=suite, langs=langs[task], **which
            )
        return requests, ahead

    def _langs_by_task(
        self, tasks: Sequence[str], suite: str, langs: Sequence[str]
    ) -> dict[str, list[str]]:
        """Which of the languages asked for each of several tasks has; those with none are left out.

        What is left out is named on stderr. A language that no task has stays, to be refused.
        """
        from xstilts.config.load import load_suite, load_task
        from xstilts.data.sources import task_in_world

        of = load_suite(suite).of
        specs = {task: task_in_world(of(load_task(task)), self.data) for task in tasks}
        known = {task: set(spec.every_language) for task, spec in specs.items()}
        anywhere = set().union(*known.values())
        unread = {
            code: [task for task in tasks if code not in known[task]]
            for code in langs
            if code in anywhere
        }
        for code, without in unread.items():
            if without:
                self.note(f"left out, as they have no {code}: {', '.join(without)}")
        found = {
            task: [code for code in langs if task not in unread.get(code, ())] for task in tasks
        }
        return {task: codes for task, codes in found.items() if codes or not langs}

    def suite_tasks(self, suite: str) -> list[str]:
        """The tasks of a suite that have data; the others are named on stderr.

        Raises:
            NotFoundError: None has.
        """
        from xstilts.config.load import load_suite
        from xstilts.data.located import tasks_with_data

        there, absent = tasks_with_data(load_suite(suite), self.data)
        if not there:
            raise NotFoundError(
                f"no task of {suite} has data", hint="Give --data DIR; see `xstilts data ls`."
            )
        if absent:
            self.note(f"no data for {', '.join(absent)}")
        return there

    def head_training(
        self,
        expression: str,
        target: str,
        top: str = "seq_bn",
        overrides: Sequence[str] = (),
        backbone: str = "",
    ) -> dict[str, Any]:
        """The training that gives an expression a head for a target; empty when it needs none.

        See `target_training`.
        """
        from xstilts.config.load import short_name, train_task_of

        lacking = self._lacking_head(expression, target, top, backbone)
        if lacking is None:
            return {}
        method, name = lacking
        trained = short_name(train_task_of(target))
        self.note(f"target phase: {trained} as {method} on {expression}")
        return self.target_training(
            expression,
            target,
            top=method,
            name=name,
            backbone=backbone or self.backbone_reference,
            overrides=overrides,
        )

    def _lacking_head(
        self, expression: str, target: str, top: str, backbone: str
    ) -> tuple[str, str] | None:
        """See `missing_head`; a backbone is loaded only where several modules fit a reference."""
        from xstilts.composition.refusals import missing_head
        from xstilts.config.load import load_task
        from xstilts.data.sources import task_in_world

        task = task_in_world(load_task(target), self.data)
        try:
            return missing_head(expression, task, self.zoo, None, top)
        except AmbiguousError:
            return missing_head(expression, task, self.zoo, self.known_backbone(backbone), top)
