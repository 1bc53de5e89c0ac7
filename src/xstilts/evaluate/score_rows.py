"""What decides a cell's outcome, and what its score rows say of where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xstilts.backbone.known import KnownBackbone
from xstilts.config.specs import TaskSpec
from xstilts.evaluate.cells import EvaluationJob
from xstilts.evaluate.request import Computed
from xstilts.evaluate.store import Score
from xstilts.tasks.encoding import row_length
from xstilts.tasks.metrics import METRICS
from xstilts.zoo import Manifest

if TYPE_CHECKING:  # a cell is known without torch
    from xstilts.composition.load import LoadedExpression

VERSION = 3
"""Raised when an evaluation gives other numbers for the same inputs."""
ALIGNMENT = "alignment"
"""Group of the scores that measure a bitext's alignment."""
ALIGNMENT_VERSION = 1
"""Raised when the measures of alignment change."""


def identity(
    job: EvaluationJob,
    backbone: KnownBackbone,
    expressions: Sequence[str],
    digests: Sequence[str],
) -> dict[str, Any]:
    """Everything that decides the outcome of a cell.

    Args:
        job: The cell.
        backbone: What it runs on.
        expressions: Digest of the expression, then for each language that is read with modules of
            its own.
        digests: Of the rows, and for mining of those that the threshold is tuned on.
    """
    task = job.task
    measures = {"alignment": ALIGNMENT_VERSION} if job.request.alignment else {}
    return {
        **measures,
        "version": VERSION,
        "backbone": backbone.identity.key,
        "tokenizer": backbone.tokenization,
        "expression": expressions[0],
        "expression_of_targets": list(expressions[1:]),
        "label": job.label,
        "task": task.name,
        "format": task.format,
        "options": task.options,
        "max_length": task.max_length,
        "metric": task.metric,
        "language": job.language,
        "split": job.split,
        "data": list(digests),
        "layer": job.layer,
        "pooling": job.pooling,
        "precision": job.precision,
    }


def score_rows(
    job: EvaluationJob, backbone: KnownBackbone, loaded: LoadedExpression, computed: Computed
) -> list[Score]:
    """One row for each score of a computed cell."""
    main = None if job.request.alignment else METRICS.get(job.task.metric).MAIN
    base = _score(job, backbone, loaded)
    return [
        base.model_copy(
            update={
                "metric": name,
                "value": value,
                "n": computed.n,
                "main": name == main,
                "num_cut": computed.num_cut,
                "max_length": row_length(job.task, backbone),
            }
        )
        for name, value in computed.scores.items()
    ]


def _score(job: EvaluationJob, backbone: KnownBackbone, loaded: LoadedExpression) -> Score:
    task, manifest, head = job.task, loaded.manifest, loaded.head_for(job.task)
    return Score(
        expression=job.request.expression,
        intermediate=job.label,
        digest=loaded.digest,
        backbone=backbone.identity.name,
        fingerprint=backbone.identity.key,
        method=manifest.preset if manifest else "",
        task=task.name,
        group=ALIGNMENT if job.request.alignment else "",
        domain=task.domain,
        language=job.language,
        split=job.split,
        metric="",
        value=0.0,
        n=0,
        seed=_seed(loaded),
        step=_step(manifest),
        layer=job.layer,
        pooling=job.pooling,
        source_language=_source_language(loaded, task),
        flags=_flags(loaded) + ([job.precision] if job.precision != "fp32" else []),
        train_task=head.task.name if head and job.settings is None else "",
        trainable_parameters=sum(e.manifest.trainable_parameters for e in loaded.entries),
        selection=str(manifest.training.get("selection", "")) if manifest else "",
    )


def _seed(loaded: LoadedExpression) -> int:
    """The seed that its modules share, language adapters aside where there are others.

    It is -1 without one.
    """
    own = [entry for entry in loaded.entries if not entry.manifest.languages] or loaded.entries
    seeds = {entry.manifest.seed for entry in own}
    return seeds.pop() if len(seeds) == 1 else -1


def _step(manifest: Manifest | None) -> int:
    """The step that a snapshot was taken after; -1 for what training ended with."""
    if manifest is None or not manifest.name.endswith(f"-step{manifest.training.get('steps')}"):
        return -1
    return int(manifest.training["steps"])


def _source_language(loaded: LoadedExpression, task: TaskSpec) -> str:
    """The languages that the expression was trained on; those of a merge or stack are joined."""
    codes = {
        code
        for entry in loaded.entries
        for code in entry.manifest.source_language.split(",")
        if code and not entry.manifest.languages
    }
    return ",".join(sorted(codes)) or task.source_language


def _flags(loaded: LoadedExpression) -> list[str]:
    """What a reader of a score must know."""
    chosen = (str(entry.manifest.training.get("selection", "")) for entry in loaded.entries)
    flags = ["target-dev selection"] if any("(target dev)" in text for text in chosen) else []
    return flags + [f"without {name}" for name in loaded.replaced]
