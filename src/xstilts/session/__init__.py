"""One place to work in: a session holds backbone, zoo, data and results, and has the verbs.

    session = Session(data="data", zoo="adapters_zoo")
    module = session.train("mnli", method="lora")
    session.xtreme(["none", module.reference]).to_pandas()

The command line calls the same verbs. Whatever costs seconds to import is imported by the verb that
needs it, so that a session itself is made at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xstilts.errors import AmbiguousError, NotFoundError, UsageError
from xstilts.session.setup import DEFAULT_BACKBONE, PRECISIONS, Setup, expanded, listed

if TYPE_CHECKING:
    from datasets import Dataset

    from xstilts.backbone.backbone import Backbone
    from xstilts.composition.explain import Explanation
    from xstilts.composition.predictor import Predictor, Row
    from xstilts.composition.trainable import TrainableModel
    from xstilts.config.specs import TaskSpec
    from xstilts.data.bundle import Bundle
    from xstilts.data.examples import Example
    from xstilts.data.prepare import Presence
    from xstilts.data.results import DataResult, FindingsResult, TranslationsResult
    from xstilts.evaluate.evaluator import Evaluator
    from xstilts.evaluate.ranking import Ranker
    from xstilts.evaluate.request import Request
    from xstilts.grid.context import GridContext
    from xstilts.report.results import (
        ExportResult,
        FolderScoresResult,
        ModuleResult,
        PredictionsResult,
        PushResult,
        RankResult,
        ReportResult,
        ScoresResult,
        SearchResult,
    )
    from xstilts.train.phases import Phase
    from xstilts.train.search import Search
    from xstilts.zoo import Entry

__all__ = ["DEFAULT_BACKBONE", "PRECISIONS", "VERBS", "Session", "default_session", "load"]


class Session(Setup):
    """Where you work, and what you can do there; `Setup` says what it takes."""

    # -- training

    def phase(
        self,
        task: str,
        *,
        method: str = "",
        name: str = "",
        base: str = "none",
        init: str = "",
        backbone: str = "",
        seed: int | None = None,
        limit: int | None = None,
        settings: Mapping[str, Any] | None = None,
        overrides: Sequence[str] = (),
        config: Path | None = None,
        track: Sequence[str] = (),
        command: str = "",
    ) -> Phase:
        """A training before it runs: its settings from every layer, its rows, its backbone.

        Args:
            task: A task, tasks joined by commas, or a mixture such as `multitask`.
            method: Method preset, such as `seq_bn`, `lora`, `full` or `head`.
            name: Of the new module; the task's when empty.
            base: Expression that acts, frozen, below the new module.
            init: Module whose weights the new one starts from.
            backbone: Instead of the session's.
            seed: Of everything that is drawn.
            limit: At most this many training rows of each task.
            settings: Nested settings, such as `{"train": {"lr": 3e-4, "epochs": 2}}`.
            overrides: The same as texts, such as `train.lr=3e-4`; `settings` wins.
            config: A YAML with settings, weaker than both.
            track: Trackers, such as `tensorboard`.
            command: Shown to resume an interrupted run.

        Raises:
            ConfigError: A setting is unknown or wrong; all are listed.
            NotFoundError: A task, method, module or backbone is not there.
        """
        from xstilts.config.run import resolve_run

        given = {"method": method, "backbone": backbone}
        flags: dict[str, Any] = {k: v for k, v in given.items() if v} | dict(settings or {})
        train = {k: v for k, v in (("seed", seed), ("limit", limit)) if v is not None}
        if train:
            flags["train"] = {**flags.get("train", {}), **train}
        (default, origin), world = self.backbone_default, self.training_defaults
        if base != "none" or init:
            default = self.reference_for([base, *([init] if init else [])])
        run = resolve_run(task, flags, overrides, config, default, world, origin).value
        self.require_writable("zoo", "home", "cache")
        self._tell_loading(run.backbone)
        from xstilts.backbone.machine import require_bf16
        from xstilts.train.run import require_training, resolve_phase

        require_training(task, run, name, self.data, offline=self.no_hub)
        if run.train.precision == "bf16":
            require_bf16(self.device)
        workspace, loaded = self.workspace(track), self.backbone(run.backbone)
        return resolve_phase(
            task, run, loaded, workspace, base=base, init=init, name=name, command=command
        )

    def train(self, task: str, *, force: bool = False, **options: Any) -> ModuleResult:
        """Train a module and keep it in the zoo, or find it when this training was done before.

        Args:
            task: A task, tasks joined by commas, or a mixture.
            force: Train again even then.
            options: See `phase`: `method`, `name`, `base`, `seed`, `limit`, `settings`, …
        """
        return self.run_phase(self.phase(task, **options), force=force)

    def run_phase(self, phase: Phase, *, force: bool = False) -> ModuleResult:
        """Train what `phase` says, or find it."""
        from xstilts.report.results import ModuleResult
        from xstilts.train.run import train_phase
        from xstilts.zoo.backbones import remember_backbone

        began = time.monotonic()
        if not self.world:
            remember_backbone(phase.run.backbone, phase.backbone.identity.fingerprint)
        entry = train_phase(phase, force=force)
        return ModuleResult(entry, seconds=round(time.monotonic() - began, 1))

    # -- combining

    def compose(
        self,
        expression: str,
        save: str,
        *,
        target: str = "",
        top: str = "head",
        force: bool = False,
        **options: Any,
    ) -> ModuleResult:
        """Combine modules and keep the result under a name.

        With a target, what is new (fusion, head, top) is trained for it; without one, an expression
        that needs no training, such as a merge, becomes a module by itself.

        Args:
            expression: Such as `fuse(mnli, qqp)` or `merge_ties(mnli/lora, qqp/lora)`.
            save: Name in the zoo.
            target: Task to train for.
            top: What trains besides fusion: `head`, `seq_bn`, `lora`, …
            force: Train again even when it was done before.
            options: For the training, see `phase`.

        Raises:
            UsageError: The expression makes no sense, or cannot be kept without training.
        """
        if target:
            phase = self.target_phase(expression, target, top=top, name=save, **options)
            return self.run_phase(phase, force=force)
        from xstilts.composition.parser import require_readable

        require_readable(save)
        self.require_writable("zoo")
        from xstilts.composition.merge import keep_merged
        from xstilts.report.results import ModuleResult

        backbone = self.backbone_for(expression, options.get("backbone", ""))
        return ModuleResult(keep_merged(expression, save, self.zoo, backbone))

    def target_phase(
        self,
        expression: str,
        target: str,
        *,
        top: str = "head",
        name: str = "",
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Phase:
        """The training that gives an expression a head for a target task; see `phase`.

        Raises:
            UsageError: The target needs no training.
        """
        from xstilts.config.load import train_task_of

        trained = train_task_of(target)
        if not trained:
            raise UsageError(
                f"task {target} needs no training", hint="Evaluate the expression itself."
            )
        own = {**(settings or {}), "target": target}
        return self.phase(trained, method=top, name=name, base=expression, settings=own, **options)

    def explain(self, expression: str, *, backbone: str = "") -> Explanation:
        """What an expression is made of, part by part, and what it costs."""
        from xstilts.composition.explain import explain

        return explain(expression, self.zoo, self.backbone_for(expression, backbone))

    def searching(
        self,
        expression: str,
        target: str,
        *,
        head: str = "",
        save: str = "",
        backbone: str = "",
        **settings: Any,
    ) -> Search:
        """A search of weights before it runs; `settings` are those of `SearchSpec`.

        `save` is refused here where nothing can be kept under it.
        """
        from xstilts.composition.parser import require_readable
        from xstilts.config.load import load_task

        load_task(target)
        if save:
            require_readable(save)
            self.require_writable("zoo")
        self.require_writable("home", "cache")
        self.require_parts([expression, *([head] if head else [])])
        self._tell_loading(backbone or self.backbone_reference)
        from xstilts.train.search import Search, SearchSpec, require_search

        spec = SearchSpec(**settings)
        require_search(target, self.data, offline=self.no_hub)
        loaded = self.backbone_for([expression, *([head] if head else [])], backbone)
        return Search(expression, target, head, loaded, self.workspace(), spec)

    def search(
        self, expression: str, target: str, *, save: str = "", **options: Any
    ) -> SearchResult:
        """Find the weights of a merge on a few examples; nothing is trained (LoraHub).

        Args:
            expression: With weights, such as `average(mnli, qqp)`.
            target: Task whose dev examples judge.
            save: Name under which the best is kept in the zoo.
            options: `head` (module whose head is used), `budget`, `shots`, `seed`, `backbone`.
        """
        return self.run_search(self.searching(expression, target, save=save, **options), save)

    def run_search(self, search: Search, save: str = "") -> SearchResult:
        """Run a search, and keep its result where `save` names it."""
        from xstilts.report.results import SearchResult
        from xstilts.train.search.keeping import keep

        with self.progress("searching") as progress:
            found = search.run(progress)
        entry = keep(search, found, save) if save else None
        return SearchResult(
            str(found.expression), found.loss, found.start, found.judged, len(search.rows), entry
        )

    # -- evaluating

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

        loaded = self.backbone(backbone)
        return Evaluator(loaded, self.workspace(), self.results, used, compiled=compiled)

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
        from xstilts.evaluate.request import task_requests

        texts, head = listed(expressions), which.get("head", "")
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
        from xstilts.config.load import load_task
        from xstilts.evaluate.request import task_requests
        from xstilts.train.plan import plan_phase

        chosen = list(tasks) or self.suite_tasks(suite)
        for task in chosen:
            load_task(task)
        self.require_writable("results", "cache")
        self._tell_loading(backbone or self.backbone_reference)
        from xstilts.evaluate.cells import require_data

        pairs = list(product(listed(expressions), chosen))
        if any(self._lacking_head(*pair, top, backbone) for pair in pairs):
            self.require_writable("zoo")
        for task in chosen:
            asked = task_requests(["none"], task, suite=suite, **which)
            require_data(asked, self.data, offline=self.no_hub)
        requests: list[Request] = []
        ahead: list[Phase] = []
        for expression, task in pairs:
            phase = self.head_phase(expression, task, top, overrides, backbone)
            if phase and plan_only and not plan_phase(phase).known:
                ahead.append(phase)
                continue
            used = "@" + self.run_phase(phase).digest if phase else expression
            requests += task_requests([used], task, label=expression, suite=suite, **which)
        return requests, ahead

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

    def head_phase(
        self,
        expression: str,
        target: str,
        top: str = "seq_bn",
        overrides: Sequence[str] = (),
        backbone: str = "",
    ) -> Phase | None:
        """The training that gives an expression a head for a target; None when it needs none."""
        from xstilts.config.load import short_name, train_task_of

        lacking = self._lacking_head(expression, target, top, backbone)
        if lacking is None:
            return None
        method, name = lacking
        trained = short_name(train_task_of(target))
        self.note(f"target phase: {trained} as {method} on {expression}")
        return self.target_phase(
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
            return missing_head(expression, task, self.zoo, self.backbone(backbone), top)

    def align(
        self,
        expressions: str | Iterable[str],
        tasks: str | Iterable[str],
        *,
        force: bool = False,
        **options: Any,
    ) -> ScoresResult:
        """Measure how well languages lie on each other in every block of a bitext.

        Args:
            expressions: Such as `none` or `mnli`.
            tasks: Bitexts, such as `tatoeba`.
            force: Compute finished cells again.
            options: `langs`, `split`, `limit`, `pooling`, `precision`, `compiled`, `backbone`: see
                `evaluate`; `layers`, blocks, 0 for the embeddings, all of them when empty; `steps`,
                the snapshots of each module's training too.
        """
        evaluator, requests = self.alignment(expressions, tasks, **options)
        return self.run_requests(evaluator, requests, force=force)

    def alignment(
        self,
        expressions: str | Iterable[str],
        tasks: str | Iterable[str],
        *,
        precision: str = "fp32",
        compiled: bool = False,
        backbone: str = "",
        **which: Any,
    ) -> tuple[Evaluator, list[Request]]:
        """What `align` measures, before it does."""
        from xstilts.config.load import load_task

        self.require_writable("results", "cache")
        texts, bitexts = listed(expressions), listed(tasks)
        chosen = self.reference_for(texts, backbone)
        for task in bitexts:
            load_task(task)
        from xstilts.evaluate.alignment.snapshots import alignment_requests
        from xstilts.evaluate.cells import require_data
        from xstilts.evaluate.request import task_requests

        own = {key: which[key] for key in ("langs", "split") if key in which}
        for task in bitexts:
            asked = task_requests(["none"], task, alignment=True, **own)
            require_data(asked, self.data, offline=self.no_hub)
        evaluator = self.evaluator(backbone=chosen, precision=precision, compiled=compiled)
        loaded = self.backbone(chosen)
        return evaluator, alignment_requests(texts, bitexts, self.zoo, loaded, **which)

    def ranking(
        self,
        target: str,
        modules: Sequence[str] = (),
        *,
        methods: Sequence[str] = (),
        shots: int = 64,
        seed: int = 42,
        backbone: str = "",
    ) -> Ranker:
        """A ranking before it is computed; see `rank`."""
        from xstilts.config.load import load_task

        load_task(target)
        self.require_writable("cache")
        self.require_parts(modules)
        self._tell_loading(backbone or self.backbone_reference)
        from xstilts.evaluate.ranking import (
            METHODS,
            Ranker,
            RankSpec,
            require_target,
            trained_modules,
        )

        spec = RankSpec(methods=tuple(methods) or METHODS, shots=shots, seed=seed)
        require_target(target, spec, self.data, offline=self.no_hub)
        if not modules:
            trained_modules(self.zoo)
        loaded = self.backbone_for(modules, backbone)
        return Ranker(target, list(modules), loaded, self.workspace(), spec)

    def rank(self, target: str, modules: Sequence[str] = (), **options: Any) -> RankResult:
        """Order modules as intermediates for a target, before any training.

        Args:
            target: A task, such as `xnli`.
            modules: References; every trained module of the backbone when empty.
            options: `methods` (of text, task, probe, logme), `shots` (labelled rows of each task),
                `seed`, `backbone`.
        """
        return self.run_ranking(self.ranking(target, modules, **options))

    def run_ranking(self, ranking: Ranker) -> RankResult:
        """Compute a ranking; where scores are stored, its agreement with them."""
        from xstilts.report.results import RankResult

        with self.progress("ranking") as progress:
            outcome = ranking.run(self.results.scores(), progress)
        return RankResult(outcome, tuple(ranking.spec.methods))

    def demo(self, seeds: Sequence[int] = (42,)) -> ScoresResult:
        """Train, compose and evaluate on the sandbox world, once a seed; what is there is reused.

        Raises:
            UsageError: The session is in no world.
        """
        if not self.world:
            raise UsageError("the demo needs a world", hint='Use Session(world="sandbox").')
        self.note(f"world: {self.sandbox.data.parent}")
        requests: list[Request] = []
        for seed in seeds:
            requests += [r for r in self._demo_requests(seed) if r not in requests]
        result = self.run_requests(self.evaluator(), requests)
        computed, cells = result.outcome.computed, len(result.outcome.cells)
        self.note(f"{computed} cells computed, {cells - computed} reused")
        return result

    def _demo_requests(self, seed: int) -> list[Request]:
        """Train what the demo needs of one seed; what is to be evaluated."""
        from xstilts.evaluate.request import Request
        from xstilts.sandbox.demo import DemoModule, tour

        def train(module: DemoModule) -> str:
            how: dict[str, Any] = {
                "method": module.method,
                "name": module.name,
                "base": module.base,
            }
            phase = self.phase(module.task, **how, seed=seed)
            verb = "found" if self.zoo.find_run(phase.run_key) else "trained"
            made = self.run_phase(phase)
            self.note(f"{verb} {made.reference}  seed {seed}  dev {made.dev_score:.1f}")
            return made.digest

        return [Request(*evaluated) for evaluated in tour(train)]

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

    # -- asking

    def load(
        self, expression: str, *, language: str = "", task: str = "", backbone: str = ""
    ) -> Predictor:
        """An expression with its weights, and its head where it has one, ready to be asked.

        Args:
            expression: A module reference or an expression, such as `stack(lang-{lang}, mnli)`.
            language: Fills `{lang}`.
            task: Which head, for a module with several; the first one when empty.
            backbone: Instead of the session's.

        Raises:
            UsageError: The expression makes no sense, or needs a language.
            NotFoundError: A module or the backbone is not there.
            BackboneMismatchError: A module belongs to another backbone.
        """
        from xstilts.composition.refusals import require_language

        require_language(expression, language)
        self.require_parts(expression, language)
        loaded = self.backbone_for(expression, backbone)  # says so before torch is imported
        from xstilts.composition.predictor import predictor

        return predictor(expression, self.zoo, loaded, language, task)

    def predict(
        self, expression: str, rows: Row | Sequence[Row], *, language: str = "", **options: Any
    ) -> PredictionsResult:
        """One prediction an input; see `load` and `Predictor.predict`."""
        from xstilts.report.results import PredictionsResult

        asked = self.asked(expression, language=language, **options)
        return PredictionsResult(tuple(asked.predict(rows, language=language)))

    def asked(
        self, expression: str, *, language: str = "", task: str = "", backbone: str = ""
    ) -> Predictor:
        """As `load`; what gives no predictions is refused before a weight is read."""
        chosen = self.reference_for(expression, backbone)
        self._tell_loading(chosen)
        from xstilts.composition.refusals import require_answers

        require_answers(expression, self.zoo, language, task)
        return self.load(expression, language=language, task=task, backbone=chosen)

    # -- own loops

    def model(
        self, expression: str, task: str, *, language: str = "", seed: int = 42, backbone: str = ""
    ) -> TrainableModel:
        """A composed model as an `nn.Module` for your own loop or the transformers Trainer.

        Its `forward(input_ids, attention_mask, labels)` gives loss and logits. It works on a copy
        of the backbone, with the expression's head for the task, or a new one.

        Args:
            expression: Such as `fuse(mnli, qqp)`, or `none`.
            task: What is predicted, such as `xnli`; it has the labels of the task that trains it.
            language: Fills `{lang}`.
            seed: Of a new head.
            backbone: Instead of the session's.
        """
        from xstilts.composition.load import load_expression
        from xstilts.composition.trainable import TrainableModel
        from xstilts.config.load import load_task, train_task_of
        from xstilts.data.sources import task_in_world

        self.require_parts(expression, language)
        loaded = self.backbone_for(expression, backbone)
        spec = task_in_world(load_task(train_task_of(task) or task), self.data)
        whole = load_expression(expression, self.zoo, loaded, language)
        return TrainableModel(whole, loaded, spec, seed)

    def dataset(
        self,
        task: str,
        split: str = "train",
        langs: Sequence[str] = (),
        *,
        limit: int | None = None,
        seed: int = 42,
        tokenized: bool = False,
        backbone: str = "",
    ) -> Dataset:
        """Rows of a task as a `datasets.Dataset`.

        Args:
            task: Name, or path of a YAML.
            split: Such as `train`, `validation` or `test`.
            langs: Languages; the source language when empty.
            limit: At most this many rows of each language, a nested subset for a seed.
            seed: Of that subset.
            tokenized: `input_ids`, `attention_mask` and labels as transformers names them, as the
                backbone's tokenizer cuts them, instead of the texts.
            backbone: Instead of the session's, for its tokenizer.

        Raises:
            NotFoundError: There is no such task, language or split, or no data.
            DataError: A row is broken; file and row are named.
        """
        from xstilts.config.load import load_task
        from xstilts.data.sources import task_in_world
        from xstilts.tasks.dataset import task_dataset

        return task_dataset(
            task_in_world(load_task(task), self.data),
            split,
            langs,
            self.data,
            backbone=self.backbone(backbone) if tokenized else None,
            offline=self.no_hub,
            limit=limit or 0,
            seed=seed,
        )

    # -- reporting

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
        draws: int = 10_000,
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
                `xtreme_json`, `figures` (a folder).

        Raises:
            NotFoundError: There is no such reference, suite or task.
        """
        from xstilts import report as reports
        from xstilts.config.load import load_suite
        from xstilts.grid.state import GridFolder, study_problems
        from xstilts.report.results import ReportResult
        from xstilts.report.selection import selected_cells

        if reference not in ("", "paper"):
            raise NotFoundError.named("reference", reference, ["paper"])
        wanted = [*labels, baseline] if labels else []
        cells = selected_cells(self.results, tasks=tasks, labels=wanted, backbone=backbone)
        problems, missing = study_problems(GridFolder(self.results_folder))
        scores = [score for cell in cells for score in cell.scores]
        facts, chosen = reports.facts(scores, self.zoo, self.runs), load_suite(suite)
        with self.progress("report") as progress:
            material = reports.Material(
                cells, chosen, baseline, facts, problems, missing, draws, progress
            )
            warning = reports.SIMULATION if self.world else ""
            made = reports.build(material, reference=bool(reference), warning=warning)
        asked = {"html": expanded(html), **{name: expanded(path) for name, path in files.items()}}
        written = reports.write_forms(made, material, asked, figure_formats)
        return ReportResult(made, material, written)

    def grid_context(self, command: str = "") -> GridContext:
        """Where the cells of studies are planned and computed."""
        from xstilts.grid.context import GridContext

        def load(name: str) -> Backbone:
            return self.backbone(self.study_backbone(name))

        where = self.workspace(), self.results_folder
        return GridContext(*where, load, self.training_defaults, command)

    # -- data

    def data_tasks(self, names: Sequence[str] = (), suite: str = "") -> list[TaskSpec]:
        """Tasks in every language that their data has, or in those of a suite; all by default."""
        from xstilts.config.load import load_suite
        from xstilts.data.located import data_tasks

        return data_tasks(names, load_suite(suite) if suite else None, self.data)

    def require_data(self, verb: str) -> Path:
        """The data folder.

        Raises:
            UsageError: There is none to `verb`.
        """
        if self.data is None:
            hint = "Name it: --data DIR or XSTILTS_DATA."
            raise UsageError(f"no data folder to {verb}", hint=hint)
        return self.data

    def list_data(
        self, tasks: Sequence[str] = (), *, suite: str = "", **options: bool
    ) -> DataResult:
        """What data is there.

        Args:
            tasks: All of them when empty.
            suite: The tasks and languages of one.
            options: `count` (read and count the rows), `checksums` (compute sha256).

        Raises:
            NotFoundError: None of the tasks has data; every place is listed.
        """
        from xstilts.data.prepare import list_data, no_data
        from xstilts.data.results import DataResult

        root, specs = self.require_data("list"), self.data_tasks(tasks, suite)
        found: list[Presence] = []
        with self.progress("data") as progress:
            for number, spec in enumerate(specs):
                progress(spec.name, number / len(specs))
                found += list_data([spec], root, **options)
        absent = [spec for spec in specs if spec.name not in {item.task for item in found}]
        if not found:
            raise no_data(absent, root, "list")
        return DataResult(tuple(found), tuple(absent))

    def check_data(self, tasks: Sequence[str] = (), *, suite: str = "") -> FindingsResult:
        """Look for placeholder labels, wrong languages, repeats, overlap, wrong counts.

        Args:
            tasks: All that have data when empty.
            suite: The tasks and languages of one; a language without data is a finding, too.

        Raises:
            NotFoundError: None of the tasks has data; every place is listed.
        """
        from xstilts.data.check import check_all, missing_languages, present
        from xstilts.data.prepare import no_data
        from xstilts.data.results import FindingsResult

        root, every = self.require_data("check"), self.data_tasks(tasks, suite)
        specs = [spec for spec in every if present(spec, root)]
        absent = [spec for spec in every if spec not in specs] if tasks or not specs else []
        if not specs:
            raise no_data(absent, root, "check")
        with self.progress("checking") as progress:
            found = check_all(specs, root, progress)
        lacking = missing_languages(every, root) if suite else ()
        return FindingsResult((*lacking, *found), tuple(specs), tuple(absent))

    def prepare_data(
        self,
        task: str,
        *,
        raw: str | Path | None = None,
        langs: Sequence[str] = (),
        splits: Sequence[str] = (),
        suite: str = "",
    ) -> DataResult:
        """Make a task ready: convert original files or fetch what a hub has, and read it all.

        Args:
            task: Name, or path of a YAML.
            raw: Folder with original files or archives to convert into the data folder first.
            langs: Languages; all of the task's when empty.
            splits: All when empty.
            suite: The languages of one.

        Raises:
            NotFoundError: There is nothing to make ready; every place is listed.
            DataError: A file is broken.
        """
        from xstilts.data.prepare import Presence, prepare, require_rows
        from xstilts.data.results import DataResult

        if raw is not None:  # the data folder may be new
            for folder in self.data_option:
                folder.mkdir(parents=True, exist_ok=True)
            self.require_data("write to")
        (spec,), root = self.data_tasks([task], suite), self.data_target
        asked: dict[str, Any] = {"languages": langs, "splits": splits}
        steps = []
        with self.progress("preparing") as progress:
            for step in prepare(spec, root, raw_dir=expanded(raw), offline=self.offline, **asked):
                steps.append(step)
                progress(f"{task}: {len(steps)} done", 0.0)
        ready = tuple(step for step in steps if isinstance(step, Presence))
        if not ready:
            require_rows(spec, root, offline=self.offline or raw is not None, **asked)
        converted = tuple(step for step in steps if not isinstance(step, Presence))
        return DataResult(ready, converted=converted)

    def bundle_data(self, tasks: Sequence[str], to: str | Path) -> Bundle:
        """Pack the files of some tasks as one `.tar` for a machine without a network."""
        from xstilts.data.bundle import bundle

        return bundle(self.data_tasks(tasks), self.require_data("pack"), Path(to))

    def translation_rows(
        self, task: str, split: str = "train", *, limit: int | None = None, seed: int = 42
    ) -> tuple[TaskSpec, list[Example]]:
        """What `translate` translates: the task, and its rows in the source language."""
        from xstilts.config.load import load_task
        from xstilts.data.sources import load, task_in_world

        root = self.require_data("keep translations in")
        spec = task_in_world(load_task(task), root)
        how: dict[str, Any] = {"offline": self.offline, "limit": limit or 0, "seed": seed}
        return spec, load(spec, split, spec.source_language, root, **how)

    def translate(
        self,
        task: str,
        langs: Sequence[str],
        model: str,
        split: str = "train",
        *,
        limit: int | None = None,
        seed: int = 42,
        code: str = "",
        beams: int = 4,
    ) -> TranslationsResult:
        """Translate a task's rows and keep them with the data; stopped, it continues.

        Args:
            task: Name, or path of a YAML.
            langs: Languages, such as `de` and `sw`.
            model: Seq2seq model of transformers: `org/name@revision` or a folder.
            split: What is translated.
            limit: At most this many rows, a nested subset for a seed.
            seed: Of that subset.
            code: The model's code of the language, where it cannot be found out.
            beams: Of the search; 1 is greedy.

        Raises:
            UsageError: There is no data folder, or rows of this format cannot be translated.
        """
        from xstilts.data.results import TranslationsResult
        from xstilts.data.translation.task import translate_task

        spec, rows = self.translation_rows(task, split, limit=limit, seed=seed)
        root = self.data_target or self.require_data("keep translations in")
        how: dict[str, Any] = {"code": code, "beams": beams, "offline": self.offline}
        made = []
        for language in langs:
            with self.progress(f"{spec.name} into {language}") as progress:
                how |= {"device": self.device, "progress": progress}
                where = language, root, model, self.cache
                made.append(translate_task(spec, split, rows, *where, **how))
        return TranslationsResult(tuple(made))

    # -- sharing

    def export(
        self,
        kind: str,
        expression: str,
        to: str | Path,
        *,
        language: str = "",
        backbone: str = "",
    ) -> ExportResult:
        """Write a module in a form that runs without xstilts, checked by loading it again.

        Args:
            kind: `hf` (a transformers model of the task's class), `merged` (the same without the
                head), `adapters`, `peft` or `onnx`.
            expression: A module or an expression.
            to: A folder that does not exist yet.
            language: Fills `{lang}`.
            backbone: Instead of the session's.

        Raises:
            NotFoundError: There is no such kind or module.
            UsageError: The folder exists, or the expression cannot be expressed that way.
            IntegrityError: What was written computes something else; nothing is left.
        """
        chosen = self.reference_for(expression, backbone)
        self._tell_loading(chosen)
        from xstilts.composition.export import export, require_exportable
        from xstilts.report.results import ExportResult

        require_exportable(kind, expression, self.zoo, language)
        made = export(kind, expression, self.zoo, self.backbone(chosen), Path(to), language)
        return ExportResult(kind, made)

    def push(
        self,
        reference: str,
        target: str,
        *,
        sign: str | Path | None = None,
        **options: Any,
    ) -> PushResult:
        """Share a module with its card and its stored scores, all of it or nothing.

        Args:
            reference: Of the zoo, such as `mnli/lora`.
            target: `hf:org/name`, `s3://bucket/zoo`, `folder:/shared/zoo`.
            sign: Private key (PEM) to sign with.
            options: Fields of `PushOptions`: `private`, `create_pr`, `tags`, `message`, `license`.
        """
        from xstilts.report.results import PushResult
        from xstilts.zoo import hubs

        entry = self.zoo.find(reference)
        scores = self.results.of_module(entry.manifest.digest)
        made = hubs.push(
            entry.folder,
            target,
            hubs.PushOptions(**options),
            zoo=self.zoo,
            scores=scores,
            sign=expanded(sign),
            offline=self.offline,
        )
        return PushResult(entry.reference, target, len(scores), made.reference, made.url)

    def pull(self, reference: str, *, key: str | Path | None = None) -> ModuleResult:
        """Fetch a module into the zoo; it appears there verified, or not at all.

        Args:
            reference: `hf:org/name@v1`, `s3://bucket/path`, `./folder`.
            key: Refuse it unless this public key signed.
        """
        from xstilts.report.results import ModuleResult
        from xstilts.zoo import hubs

        return ModuleResult(hubs.pull(reference, self.zoo, key=expanded(key), offline=self.offline))

    def remove(self, reference: str, *, dry_run: bool = False) -> Entry:
        """Take a module out of the zoo; with `dry_run` only say which one it would be.

        Raises:
            UsageError: Other modules are made of it.
        """
        zoo = self.zoo
        entry = zoo.find(reference)
        users = [
            other.reference
            for other in zoo.entries()
            if any(parent.digest == entry.manifest.digest for parent in other.manifest.parents)
        ]
        if users:
            raise UsageError(
                f"{entry.reference} is part of {', '.join(users)}", hint="Remove those."
            )
        if not dry_run:
            zoo.remove(entry)
        return entry


# ------------------------------------------------------------------------------- short forms

VERBS = (
    *("train", "compose", "explain", "search", "evaluate", "xtreme", "align", "rank", "predict"),
    *("push", "pull", "report", "model", "dataset", "export", "score", "translate"),
    *("list_data", "check_data", "prepare_data", "bundle_data"),
)
"""Names of `xstilts.…` that are verbs of the default session."""


@cache
def default_session() -> Session:
    """The session of the short forms, with the environment's places; made when first used."""
    return Session()


def load(
    expression: str,
    *,
    language: str = "",
    task: str = "",
    **options: Any,
) -> Predictor:
    """The expression with its weights, and its head where it has one, ready to be asked.

    Args:
        expression: A module reference or an expression, such as `stack(lang-{lang}, mnli)`.
        language: Fills `{lang}`.
        task: Which head, for a module with several; the first one when empty.
        options: Of a session of its own: `backbone`, `zoo`, `world`, `device`, `offline`, …
    """
    session = Session(**options) if options else default_session()
    return session.load(expression, language=language, task=task)
