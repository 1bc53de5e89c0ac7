"""The verbs that look inside: how languages align, and which module is worth training on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from xstilts.session.evaluating import Evaluating
from xstilts.session.setup import listed

if TYPE_CHECKING:
    from xstilts.evaluate.evaluator import Evaluator
    from xstilts.evaluate.ranking import Ranker
    from xstilts.evaluate.request import Request
    from xstilts.report.results import RankResult, ScoresResult


class Analysing(Evaluating):
    """The verbs that look inside; see `Session`."""

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
        texts, bitexts = listed(expressions), listed(tasks)
        self._tell_looking(texts, bitexts)
        from xstilts.config.load import load_task

        self.require_writable("results", "cache")
        chosen = self.reference_for(texts, backbone)
        for task in bitexts:
            load_task(task)
        from xstilts.evaluate.cells import require_data
        from xstilts.evaluate.request import task_requests

        own = {key: which[key] for key in ("langs", "split") if key in which}
        for task in bitexts:
            asked = task_requests(["none"], task, alignment=True, **own)
            require_data(asked, self.data, offline=self.no_hub)
        self.require_backbone(chosen)
        from xstilts.evaluate.alignment.snapshots import alignment_requests

        evaluator = self.evaluator(backbone=chosen, precision=precision, compiled=compiled)
        return evaluator, alignment_requests(texts, bitexts, self.zoo, evaluator.backbone, **which)

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
        from xstilts.config.layers import Layer, resolve
        from xstilts.config.load import load_task

        load_task(target)
        self.require_writable("cache")
        chosen = self.reference_for(modules, backbone)
        self.note(f"ranking for {target} on {chosen}")
        from xstilts.evaluate.ranking import (
            METHODS,
            Ranker,
            RankSpec,
            require_target,
            trained_modules,
        )

        asked = {"methods": tuple(methods) or METHODS, "shots": shots, "seed": seed}
        spec = resolve(RankSpec, [Layer("rank", asked)]).value
        require_target(target, spec, self.data, offline=self.no_hub)
        known = self.backbone_if_known(chosen)
        if known is None and not modules:
            trained_modules(self.zoo)
        known = known or self.known_backbone(chosen)
        return Ranker(target, list(modules), known, self.workspace(), spec)

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
