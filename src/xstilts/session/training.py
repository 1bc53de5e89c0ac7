"""The verbs that make modules: train, compose, search weights."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.errors import UsageError
from xstilts.session.setup import Setup

if TYPE_CHECKING:
    from xstilts.composition.explain import Explanation
    from xstilts.config.file_facts import FileFacts
    from xstilts.config.run import RunSpec
    from xstilts.report.results import ModuleResult, SearchResult
    from xstilts.train.phases import Phase
    from xstilts.train.search import Search


class Training(Setup):
    """The verbs that make modules; see `Session`."""

    def phase(
        self,
        task: str,
        *,
        name: str = "",
        base: str = "none",
        init: str = "",
        track: Sequence[str] = (),
        command: str = "",
        plan_only: bool = False,
        **how: Any,
    ) -> Phase:
        """A training before it runs: its settings from every layer, its rows, its backbone.

        Args:
            task: A task, tasks joined by commas, or a mixture such as `multitask`.
            name: Of the new module; the task's when empty.
            base: Expression that acts, frozen, below the new module.
            init: Module whose weights the new one starts from.
            track: Trackers, such as `tensorboard`.
            command: Shown to resume an interrupted run.
            plan_only: For `plan_phase` and `estimate`: no weight is loaded before it is needed.
            how: `method`, `backbone`, `seed`, `limit`, `settings`, …; see `run_settings`.

        Raises:
            ConfigError: A setting is unknown or wrong; all are listed.
            NotFoundError: A task, method, module or backbone is not there.
        """
        run = self.run_settings(task, base=base, init=init, **how)
        self.require_writable("zoo", "home", "cache")
        if plan_only:
            self.note(f"planning {task} on {run.backbone}")
        else:
            self._tell_loading(run.backbone)
        from xstilts.train.known import training_facts
        from xstilts.train.run import require_training, resolve_phase

        require_training(task, run, name, self.data, offline=self.no_hub)
        self._require_machine(run)
        workspace = self.workspace(track)
        loaded = (self.outlined_backbone if plan_only else self.backbone)(run.backbone)
        own: dict[str, Any] = {"base": base, "init": init, "name": name}
        facts = training_facts(task, run, loaded, workspace, **own)
        with self.progress("reading rows"):
            phase = resolve_phase(task, run, loaded, workspace, command=command, **own)
        if facts:
            facts.put(phase.run_key)
        return phase

    def trained(self, task: str, **options: Any) -> ModuleResult | None:
        """The module of a training that was done; `options` are those of `phase`.

        It is found without the backbone's weights, and without torch. None where it is not there,
        or where only reading the rows can tell.
        """
        run = self.run_settings(task, **_settings(options))
        facts = self._facts_of_training(task, run, **options)
        key = facts and facts.get()
        entry = self.zoo.find_run(key) if key else None
        if entry is None:
            return None
        from xstilts.report.results import ModuleResult

        self._remember(run, entry.manifest.backbone.fingerprint)
        self.zoo.adopt(entry)
        return ModuleResult(entry)

    def plan(self, task: str, **options: Any) -> dict[str, Any]:
        """What a training would take: rows, steps, minutes, memory, and what is there already.

        Reckoned once on a machine, and without torch while its files are the same, and its settings
        but the rate, the decay and a seed that picks no rows.

        Args:
            task: See `phase`.
            options: See `phase`.
        """
        from xstilts.backbone.machine import hardware
        from xstilts.train.known import plan_settings, run_key

        run = self.run_settings(task, **_settings(options))
        on = [hardware(), self.device_option]
        facts = self._facts_of_training(task, plan_settings(run), kind="planned", on=on, **options)
        kept = facts and facts.get()
        if not kept:
            phase = self.phase(task, **options, plan_only=True)
            from xstilts.train.plan import planned

            kept = {"deciding": phase.deciding, "plan": list(planned(phase).items())}
            if facts:
                facts.put(kept)
        there = self.zoo.find_run(run_key(kept["deciding"], run))
        return {**dict(kept["plan"]), "already there": there.reference if there else None}

    def _facts_of_training(
        self,
        task: str,
        run: RunSpec,
        *,
        base: str = "none",
        init: str = "",
        name: str = "",
        **more: Any,
    ) -> FileFacts | None:
        """See `training_facts`; None where the backbone's files are not known."""
        known = self.backbone_if_known(run.backbone)
        if known is None:
            return None
        from xstilts.train.known import training_facts

        what = {key: more[key] for key in ("kind", "on") if key in more}
        own = {"base": base, "init": init, "name": name}
        return training_facts(task, run, known, self.workspace(), **own, **what)

    def _remember(self, run: RunSpec, fingerprint: str) -> None:
        """Keep where the folder of a training's backbone is; a world finds its own."""
        from xstilts.zoo.backbones import remember_backbone

        if not self.world:
            remember_backbone(run.backbone, fingerprint)

    def run_settings(
        self,
        task: str,
        *,
        method: str = "",
        base: str = "none",
        init: str = "",
        backbone: str = "",
        seed: int | None = None,
        limit: int | None = None,
        settings: Mapping[str, Any] | None = None,
        overrides: Sequence[str] = (),
        config: Path | None = None,
    ) -> RunSpec:
        """The settings of a training from every layer; no row and no backbone is read.

        Args:
            task: As in `phase`, like `base` and `init`.
            method: Method preset, such as `seq_bn`, `lora`, `full` or `head`.
            base: See `phase`.
            init: See `phase`.
            backbone: Instead of the session's.
            seed: Of everything that is drawn.
            limit: At most this many training rows of each task.
            settings: Nested settings, such as `{"train": {"lr": 3e-4, "epochs": 2}}`.
            overrides: The same as texts, such as `train.lr=3e-4`; `settings` wins.
            config: A YAML with settings, weaker than both.

        Raises:
            ConfigError: A setting is unknown or wrong; all are listed.
            NotFoundError: A task or method is not there.
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
        return resolve_run(task, flags, overrides, config, default, world, origin).value

    def _require_machine(self, run: RunSpec) -> None:
        """Refuse a training that this machine cannot hold or compute; say what it takes."""
        from xstilts.backbone.machine import require_bf16
        from xstilts.backbone.pretrained import memory_need
        from xstilts.config.load import load_method
        from xstilts.modules.methods import METHODS

        if run.train.precision == "bf16":
            require_bf16(self.device)
        if run.backbone in self._backbones:
            return
        full = METHODS.get(load_method(run.method).method).REPLACES_ENCODER
        need = memory_need(run.backbone, device=self.device, full=full, offline=self.offline)
        if need:
            self.note(str(need))

    def train(self, task: str, *, force: bool = False, **options: Any) -> ModuleResult:
        """Train a module and keep it in the zoo, or find it when this training was done before.

        Args:
            task: A task, tasks joined by commas, or a mixture.
            force: Train again even then.
            options: See `phase`: `method`, `name`, `base`, `seed`, `limit`, `settings`, …
        """
        known = None if force else self.trained(task, **options)
        return known or self.run_phase(self.phase(task, **options), force=force)

    def run_phase(self, phase: Phase, *, force: bool = False) -> ModuleResult:
        """Train what `phase` says, or find it."""
        from xstilts.report.results import ModuleResult
        from xstilts.train.run import train_phase

        began = time.monotonic()
        self._remember(phase.run, phase.backbone.identity.fingerprint)
        entry = train_phase(phase, force=force)
        return ModuleResult(entry, seconds=round(time.monotonic() - began, 1))

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
            own = self.target_training(expression, target, top=top, name=save, **options)
            return self.train(force=force, **own)
        from xstilts.composition.parser import require_readable

        require_readable(save)
        self.require_writable("zoo")
        backbone = self.backbone_for(expression, options.get("backbone", ""))
        from xstilts.composition.merge import save_merged
        from xstilts.report.results import ModuleResult

        return ModuleResult(save_merged(expression, save, self.zoo, backbone))

    def target_training(
        self,
        expression: str,
        target: str,
        *,
        top: str = "head",
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """What `phase`, `train` and `trained` take, for a head of a target task.

        Args:
            expression: What acts below the head.
            target: The task.
            top: What trains besides fusion: `head`, `seq_bn`, `lora`, …
            settings: See `phase`.
            options: See `phase`.

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
        return {"task": trained, "method": top, "base": expression, "settings": own, **options}

    def explain(self, expression: str, *, backbone: str = "") -> Explanation:
        """What an expression is made of, part by part, and what it costs."""
        loaded = self.backbone_for(expression, backbone)
        from xstilts.composition.explain import explain

        return explain(expression, self.zoo, loaded)

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
        from xstilts.config.layers import Layer, resolve
        from xstilts.config.load import load_task

        load_task(target)
        if save:
            require_readable(save)
            self.require_writable("zoo")
        self.require_writable("home", "cache")
        chosen = self.reference_for([expression, *([head] if head else [])], backbone)
        self._tell_loading(chosen)
        self.require_backbone(chosen)
        from xstilts.train.search import Search, SearchSpec, require_search

        spec = resolve(SearchSpec, [Layer("search", settings)]).value
        require_search(target, self.data, offline=self.no_hub)
        return Search(expression, target, head, self.backbone(chosen), self.workspace(), spec)

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
        from xstilts.train.search.save import save_found

        with self.progress("searching") as progress:
            found = search.run(progress)
        entry = save_found(search, found, save) if save else None
        return SearchResult(
            str(found.expression),
            found.loss,
            found.start,
            found.penalty,
            found.start_penalty,
            found.judged,
            len(search.rows),
            entry,
        )


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options of `phase` those that `run_settings` takes."""
    return {key: value for key, value in options.items() if key not in ("name", "track", "command")}
